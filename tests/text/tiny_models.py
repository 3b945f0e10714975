"""Random text encoders of the real architectures, small enough to make in a test."""

import json

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

CLIP_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


def tiny_clip(folder, quick_gelu=False):
    """A CLIP model in the form of open_clip's folders on the hub."""
    torch.manual_seed(11)
    config = {**CLIP_CONFIG, "quick_gelu": quick_gelu}
    model = open_clip.CLIP(**config)
    with torch.no_grad():  # biases and norms of a fresh model are all 0 and 1
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder.mkdir()
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    content = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder


def byte_tokenizer(start=None, end=None, **options):
    """One token a byte, after the special tokens <pad>, <s>, </s>."""
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>"])}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    single = " ".join(part for part in (start, "$A", end) if part)
    special = [(token, vocabulary[token]) for token in (start, end) if token]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        **options,
    )


def tiny_causal_lm(folder):
    """A Mistral of two layers that reads 96 tokens."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(12)
    config = MistralConfig(
        **{"vocab_size": 259, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 96},
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.3},
    )
    MistralForCausalLM(config).save_pretrained(folder)
    tokenizer = byte_tokenizer(start="<s>")
    tokenizer.pad_token = None  # as Mistral's
    tokenizer.save_pretrained(folder)
    return folder


def tiny_sentence_t5(folder):
    """Encoder of T5, mean of tokens, projection, normalisation: the pipeline of Sentence-T5."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(13)
    config = T5Config(
        **{"vocab_size": 259, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2},
        **{"num_heads": 4, "pad_token_id": 0, "eos_token_id": 2, "initializer_factor": 0.5},
    )
    inner = folder.with_name(folder.name + "_inner")
    T5EncoderModel(config).save_pretrained(inner)
    names = ["input_ids", "attention_mask"]  # as of T5's tokenizer
    byte_tokenizer(end="</s>", model_input_names=names).save_pretrained(inner)
    transformer = parts.Transformer(str(inner), max_seq_length=80)
    pooling = parts.Pooling(32, pooling_mode="mean")
    dense = parts.Dense(32, 20, bias=False, activation_function=torch.nn.Identity())
    pipeline = [transformer, pooling, dense, parts.Normalize()]
    SentenceTransformer(modules=pipeline, device="cpu").save(str(folder))
    return folder


def cached_on_hub(cache, name, folder, commit="0123456789abcdef0123456789abcdef01234567"):
    """A folder as ``hf download NAME`` leaves it in the cache."""
    home = cache / ("models--" + name.replace("/", "--"))
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        if file.is_file():
            (snapshot / file.name).symlink_to(file)
    return commit
