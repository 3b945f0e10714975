"""Sentence-T5 and Mistral encoders: tiny random models against transformers and plain torch."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import byte_tokenizer, cached_on_hub

from copt_d2.errors import InputError
from copt_d2.text import EncoderOptions, build_encoder

PROMPTS = ["road with soft shadows", "sky", "traffic light that glows at night"]


def causal_lm(folder, **options):
    return build_encoder("hf:org/mistral", EncoderOptions(weights=str(folder), **options))


def sentence_t5(folder):
    name = "sentence_transformers:org/sentence-t5"
    return build_encoder(name, EncoderOptions(weights=str(folder)))


@pytest.fixture(scope="module")
def own_states(causal_lm_folder):
    """A function from a prompt to the states (tokens, 48) of the last layer, in float64."""
    w = {k: v.double() for k, v in load_file(causal_lm_folder / "model.safetensors").items()}
    config = json.loads((causal_lm_folder / "config.json").read_text())
    heads, pairs, size = 4, 2, 12

    def norm(x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).sqrt() * w[name]

    def rotated(x):  # (heads, tokens, size): halves of the size are turned against each other
        angles = torch.arange(x.shape[1])[:, None] * 10000.0 ** (
            -torch.arange(0, size, 2).double() / size
        )
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        return x * cos + torch.cat([-x[..., size // 2 :], x[..., : size // 2]], dim=-1) * sin

    def states(prompt):
        tokens = [1, *byte_tokenizer().encode(prompt)]
        x = w["model.embed_tokens.weight"][tokens]
        later = torch.ones(len(tokens), len(tokens)).triu(1).bool()
        for layer in range(2):
            block = f"model.layers.{layer}"
            inner = norm(x, f"{block}.input_layernorm.weight")
            query, key, value = (
                (inner @ w[f"{block}.self_attn.{part}_proj.weight"].T)
                .reshape(len(tokens), -1, size)
                .transpose(0, 1)
                for part in "qkv"
            )
            key, value = (part.repeat_interleave(heads // pairs, dim=0) for part in (key, value))
            scores = rotated(query) @ rotated(key).transpose(-1, -2) / size**0.5
            mixed = scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value
            mixed = mixed.transpose(0, 1).reshape(len(tokens), -1)
            x = x + mixed @ w[f"{block}.self_attn.o_proj.weight"].T
            inner = norm(x, f"{block}.post_attention_layernorm.weight")
            gate = torch.nn.functional.silu(inner @ w[f"{block}.mlp.gate_proj.weight"].T)
            up = inner @ w[f"{block}.mlp.up_proj.weight"].T
            x = x + (gate * up) @ w[f"{block}.mlp.down_proj.weight"].T
        return norm(x, "model.norm.weight")

    return states


@pytest.mark.parity
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_causal_lm(causal_lm_folder, own_states, pooling, device):
    pool = {"last": lambda x: x[-1], "mean": lambda x: x.mean(dim=0)}[pooling]
    expected = torch.stack([pool(own_states(prompt)) for prompt in PROMPTS])
    encoder = causal_lm(causal_lm_folder, pooling=pooling, device=device)
    embeddings = encoder.encode(PROMPTS)
    assert embeddings.dtype == torch.float32
    assert not embeddings.requires_grad
    # float32 rounding of two layers, on entries of about 1
    torch.testing.assert_close(embeddings.double(), expected, atol=5e-5, rtol=0)


def test_causal_lm_in_bfloat16_is_near(causal_lm_folder):
    exact = causal_lm(causal_lm_folder).encode(PROMPTS)
    rounded = causal_lm(causal_lm_folder, dtype="bfloat16").encode(PROMPTS)
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).norm() / exact.norm()
    assert 1e-4 < difference < 0.1  # 8 bits of mantissa


def test_what_changes_the_embeddings_changes_the_id(causal_lm_folder):
    variants = [{}, {"pooling": "mean"}, {"dtype": "bfloat16"}]
    ids = [causal_lm(causal_lm_folder, **options).id for options in variants]
    assert len(set(ids)) == 3
    assert all(text.startswith("hf:org/mistral@sha256:") for text in ids)
    assert causal_lm(causal_lm_folder, device="auto").id == ids[0]


def test_causal_lm_refuses_what_it_cannot_read(causal_lm_folder, tmp_path):
    encoder = causal_lm(causal_lm_folder)
    assert encoder.encode(["x" * 95]).shape == (1, 48)  # and a start token
    with pytest.raises(InputError, match=r"has 97 tokens.* reads 96"):
        encoder.encode(["x" * 96])
    with pytest.raises(InputError, match=r"cannot be read as a Hugging Face language model"):
        causal_lm(tmp_path).encode(["x"])


@pytest.mark.parity
def test_sentence_t5_is_the_projected_token_mean(sentence_t5_folder):
    from transformers import T5EncoderModel

    inner = sentence_t5_folder.with_name(sentence_t5_folder.name + "_inner")
    t5 = T5EncoderModel.from_pretrained(inner, local_files_only=True).double().eval()
    dense = load_file(next(sentence_t5_folder.glob("*Dense/model.safetensors")))
    weight = dense["linear.weight"].double()
    rows = []
    for prompt in PROMPTS:
        tokens = torch.tensor([[*byte_tokenizer().encode(prompt), 2]])
        with torch.no_grad():
            rows.append(weight @ t5(tokens).last_hidden_state[0].mean(dim=0))
    expected = torch.stack(rows)
    embeddings = sentence_t5(sentence_t5_folder).encode(PROMPTS)
    # float32 rounding of two layers, on entries of about 1
    torch.testing.assert_close(embeddings.double(), expected, atol=1e-4, rtol=1e-4)
    assert ((expected.norm(dim=1) - 1).abs() > 0.05).all()  # its Normalize is left out


def test_sentence_t5_refuses_what_it_cannot_read(sentence_t5_folder, tmp_path):
    with pytest.raises(InputError, match=r"has 81 tokens.* reads 80"):
        sentence_t5(sentence_t5_folder).encode(["x" * 80])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a sentence-transformers") as error:
        sentence_t5(tmp_path).encode(["x"])
    assert "\n" not in str(error.value)


def test_models_of_the_cache_carry_their_commit(causal_lm_folder, empty_hub):
    commit = cached_on_hub(empty_hub, "org/mistral", causal_lm_folder)
    encoder = build_encoder("hf:org/mistral")
    assert encoder.id == f"hf:org/mistral@{commit}, last token, float32"
    assert torch.equal(encoder.encode(["a"]), causal_lm(causal_lm_folder).encode(["a"]))
    assert build_encoder(f"hf:org/mistral@{commit}").id == encoder.id


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:org/nowhere", {}, r"'org/nowhere' are not in .*`hf download org/nowhere` once"),
        ("hf:org/nowhere@v2", {}, r"`hf download org/nowhere --revision v2` once"),
        ("sentence_transformers:org/none", {}, r"`hf download org/none` once"),
        ("hf:a/b/c", {}, r"'a/b/c' is no name of a Hugging Face model"),
        ("hf:", {}, r"unknown text encoder 'hf:'"),
        ("hf:a/b", {"weights": "no/where"}, r"ENCODER_WEIGHTS: no file or folder no/where"),
        ("minilm", {"weights": "some/where"}, r"ENCODER_WEIGHTS is 'some/where'.*'minilm'"),
    ],
)
def test_an_encoder_that_is_not_there(empty_hub, name, options, message):
    with pytest.raises(InputError, match=message) as error:
        build_encoder(name, EncoderOptions(**options))
    assert "\n" not in str(error.value)


def test_wrong_options_name_their_keys():
    with pytest.raises(InputError, match=r"ENCODER_POOLING must be one of last, mean, got 'max'"):
        EncoderOptions(pooling="max")
    with pytest.raises(InputError, match=r"ENCODER_DTYPE must be one of .*, got 'int8'"):
        EncoderOptions(dtype="int8")


def test_devices_that_need_a_package_name_it(causal_lm_folder, monkeypatch):
    monkeypatch.setattr("copt_d2.text.encoders.causal_lm.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install accelerate"):
        causal_lm(causal_lm_folder, device="auto")
