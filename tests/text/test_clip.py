"""CLIP's tokenizer and text tower against computations of our own."""

import gzip
import re
from itertools import pairwise
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import CLIP_CONFIG, cached_on_hub, tiny_clip

from copt_d2.errors import InputError
from copt_d2.text import EncoderOptions, build_encoder

VOCABULARY = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
PROMPTS = [
    "road",
    "traffic light that has fine details",
    "A photo of a motorcycle's wheel!",
    "Straße {0} seen at 17:45",
    "自行车 in fog",
]


# the tokenizer, from its vocabulary file


def byte_letters():
    """The letter of each byte: itself where it is visible, else one beyond 255."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {**{b: chr(b) for b in visible}, **{b: chr(256 + n) for n, b in enumerate(hidden)}}


def vocabulary_lines():
    return gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")


@pytest.fixture(scope="module")
def own_ids():
    """A function from a prompt to its ids.

    Id = place in the list: 256 letters (visible ones first), the 256 that end a word, 48,894 merges
    in the order of the file (after its first line), start, end.
    """
    merges = [line.split() for line in vocabulary_lines()]
    merges = merges[1 : 1 + 49408 - 512 - 2]
    letters = byte_letters()
    ids = {letter: place for place, letter in enumerate(letters.values())}
    ids |= {f"{letter}</w>": 256 + place for letter, place in list(ids.items())}
    ids |= {"".join(pair): 512 + place for place, pair in enumerate(merges)}
    rank = {tuple(pair): place for place, pair in enumerate(merges)}

    def word_ids(word):
        symbols = [letters[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        while True:
            pairs = list(pairwise(symbols))
            known = [(rank[pair], place) for place, pair in enumerate(pairs) if pair in rank]
            if not known:
                return [ids[symbol] for symbol in symbols]
            place = min(known)[1]  # the earliest rule, at its leftmost place
            symbols[place : place + 2] = ["".join(pairs[place])]

    def prompt_ids(prompt):
        words = re.findall(r"'s|[^\W\d_]+|\d|[^\w\s]+", prompt.lower())
        return [49406, *(one for word in words for one in word_ids(word)), 49407]

    return prompt_ids


def test_vocabulary_worked_out_by_hand(own_ids):
    # "a" is the 65th visible character ("!" = 33 is the first): place 64; at a word's end 256 + 64
    assert own_ids("a") == [49406, 320, 49407]
    # the first rule of the file joins i and n, so "in" within a word has the place 512
    assert vocabulary_lines()[1] == "i n"
    # "q" is byte 113, the last of "inq" 256 + 113 - 33, and no rule joins "in" and "q"
    assert own_ids("inq") == [49406, 512, 336, 49407]
    assert own_ids("!") == [49406, 256, 49407]


@pytest.mark.parity
@pytest.mark.parametrize("prompt", PROMPTS)
def test_token_ids(own_ids, prompt):
    expected = own_ids(prompt)
    tokens = open_clip.get_tokenizer("ViT-B-32")(prompt)
    assert tokens.shape == (1, 77)
    assert tokens[0].tolist() == expected + [0] * (77 - len(expected))


# the text tower


def own_text_tower(state, tokens, heads, quick_gelu):
    """Features (n, D) of tokens (n, 77) by the formulas, in float64."""
    w = {key: value.double() for key, value in state.items()}

    def norm(x, name):
        centred = x - x.mean(dim=-1, keepdim=True)
        scaled = centred / (x.var(dim=-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["token_embedding.weight"][tokens] + w["positional_embedding"]  # (n, 77, width)
    n, length, width = x.shape
    later = torch.ones(length, length).triu(1).bool()
    for layer in range(2):
        block = f"transformer.resblocks.{layer}"
        projected = norm(x, f"{block}.ln_1") @ w[f"{block}.attn.in_proj_weight"].T
        projected = projected + w[f"{block}.attn.in_proj_bias"]
        query, key, value = projected.reshape(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / (width / heads) ** 0.5
        weights = scores.masked_fill(later, -torch.inf).softmax(dim=-1)  # (n, heads, 77, 77)
        mixed = (weights @ value).transpose(1, 2).reshape(n, length, width)
        x = x + mixed @ w[f"{block}.attn.out_proj.weight"].T + w[f"{block}.attn.out_proj.bias"]
        hidden = norm(x, f"{block}.ln_2") @ w[f"{block}.mlp.c_fc.weight"].T
        hidden = hidden + w[f"{block}.mlp.c_fc.bias"]
        if quick_gelu:
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        else:
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + hidden @ w[f"{block}.mlp.c_proj.weight"].T + w[f"{block}.mlp.c_proj.bias"]
    last = norm(x, "ln_final")[torch.arange(n), (tokens == 49407).int().argmax(dim=1)]
    return last @ w["text_projection"]


def padded(ids):
    return torch.tensor([row + [0] * (77 - len(row)) for row in ids])


@pytest.mark.parity
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_text_tower(own_ids, tmp_path, quick_gelu):
    folder = tiny_clip(tmp_path / "clip", quick_gelu)
    encoder = build_encoder("open_clip:ViT-B-32", EncoderOptions(weights=str(folder)))
    state = load_file(folder / "open_clip_model.safetensors")
    tokens = padded([own_ids(prompt) for prompt in PROMPTS])
    embeddings = encoder.encode(PROMPTS)
    assert embeddings.shape == (5, 24)
    assert embeddings.dtype == torch.float32
    assert not embeddings.requires_grad
    # float32 rounding of two layers, on entries of about 1
    expected = own_text_tower(state, tokens, 4, quick_gelu)
    torch.testing.assert_close(embeddings.double(), expected, atol=2e-5, rtol=0)
    other = own_text_tower(state, tokens, 4, not quick_gelu)
    assert (other - expected).abs().max() > 1e-3  # so the check above tells the two apart


@pytest.fixture
def known_architecture(monkeypatch):
    """open_clip's tables with a tiny architecture whose OpenAI weights use QuickGELU."""
    tags = {"openai": {"hf_hub": "org/tiny-clip/", "quick_gelu": True}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-B-32", CLIP_CONFIG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny-B-32", tags)


@pytest.mark.parity
def test_weights_of_the_cache_with_the_activation_of_their_tag(
    own_ids, clip_folder, empty_hub, known_architecture
):
    commit = cached_on_hub(empty_hub, "org/tiny-clip", clip_folder)
    encoder = build_encoder("open_clip:Tiny-B-32")
    assert encoder.id == f"open_clip:Tiny-B-32:openai@{commit}"
    state = load_file(clip_folder / "open_clip_model.safetensors")
    expected = own_text_tower(state, padded([own_ids("road")]), 4, quick_gelu=True)
    torch.testing.assert_close(encoder.encode(["road"]).double(), expected, atol=2e-5, rtol=0)


def test_a_file_of_weights_is_named_by_its_content(clip_folder, known_architecture, tmp_path):
    file = clip_folder / "open_clip_model.safetensors"
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(file.read_bytes())
    encoders = [
        build_encoder("open_clip:Tiny-B-32", EncoderOptions(weights=str(path)))
        for path in (file, copy)
    ]
    assert encoders[0].id == encoders[1].id
    assert encoders[0].id.startswith("open_clip:Tiny-B-32:openai@sha256:")
    copy.write_bytes(file.read_bytes()[:-1] + b"\1")
    other = build_encoder("open_clip:Tiny-B-32", EncoderOptions(weights=str(copy)))
    assert other.id != encoders[0].id


def test_a_prompt_beyond_77_tokens_is_refused(clip_folder):
    encoder = build_encoder("open_clip:ViT-B-32", EncoderOptions(weights=str(clip_folder)))
    assert encoder.encode([" ".join(["bus"] * 75)]).shape == (1, 24)  # with start and end 77
    with pytest.raises(InputError, match=r"'bus bus .*' has 78 tokens.* reads 77"):
        encoder.encode(["road", " ".join(["bus"] * 76)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-B-33", r"no architecture 'ViT-B-33'; near: .*ViT-B-32"),
        ("open_clip:ViT-B-32:mine", r"no weights 'mine' of 'ViT-B-32'.*known: openai"),
        (
            "open_clip:ViT-B-32",
            r"not in the Hugging Face cache .*run `hf download "
            r"timm/vit_base_patch32_clip_224\.openai --include 'open_clip\*'` once"
            r".*ENCODER_WEIGHTS; MODEL\.COPT\.ENCODER minilm",
        ),
    ],
)
def test_what_is_not_there(empty_hub, name, message):
    with pytest.raises(InputError, match=message) as error:
        build_encoder(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no model", b"\x80\x02csubprocess\nrun\n."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_is_no_model(tmp_path, known_architecture, content, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    encoder = build_encoder("open_clip:Tiny-B-32", EncoderOptions(weights=str(path)))
    with pytest.raises(InputError, match=r"damaged.*cannot be read.*ENCODER_WEIGHTS") as error:
        encoder.encode(["road"])
    assert "\n" not in str(error.value)


def test_weights_of_another_width_are_refused(clip_folder):
    options = EncoderOptions(weights=str(clip_folder / "open_clip_model.safetensors"))
    with pytest.raises(InputError, match=r"cannot be read as open_clip's 'ViT-B-32'.*width"):
        build_encoder("open_clip:ViT-B-32", options).encode(["road"])


def test_an_empty_folder_of_weights(tmp_path, known_architecture):
    (tmp_path / "empty").mkdir()
    options = EncoderOptions(weights=str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"empty: holds none of open_clip_model\.safetensors"):
        build_encoder("open_clip:Tiny-B-32", options).encode(["road"])


def test_openais_own_archive_is_refused_as_it_is_a_program(tmp_path, known_architecture):
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    encoder = build_encoder("open_clip:Tiny-B-32", EncoderOptions(weights=str(path)))
    with pytest.raises(InputError, match=r"ViT-B-32.pt is a TorchScript program.*hf download"):
        encoder.encode(["road"])
