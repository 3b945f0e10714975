"""Weights and embeddings of text encoders that are no numbers."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from copt_d2.errors import InputError
from copt_d2.text import EncoderOptions, build_encoder
from copt_d2.text.bank import build_bank


def break_one(folder, ending, value):
    """Puts a number into the last weight of a copied model whose name ends so; its name."""
    for file in folder.rglob("*.safetensors"):
        state = load_file(file)
        names = [name for name in state if name.endswith(ending)]
        if names:
            state[names[-1]].reshape(-1)[-1] = value
            save_file(state, file, {"format": "pt"})
            return names[-1]
    raise AssertionError(f"no {ending} in {folder}")


@pytest.mark.parametrize(
    ("encoder", "fixture", "ending", "value"),
    [
        ("hf:org/mistral", "causal_lm_folder", "q_proj.weight", float("nan")),
        ("sentence_transformers:org/t5", "sentence_t5_folder", "linear.weight", float("inf")),
        ("open_clip:ViT-B-32", "clip_folder", "ln_final.bias", float("nan")),
    ],
)
def test_weights_are_refused_by_name(request, tmp_path, encoder, fixture, ending, value):
    folder = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(fixture), folder)
    name = break_one(folder, ending, value)
    broken = build_encoder(encoder, EncoderOptions(weights=str(folder)))
    with pytest.raises(InputError) as raised:
        broken.encode(["road"])
    told = str(raised.value)
    assert told.startswith(f"{folder}")
    assert f"{name.removeprefix('model.')} holds NaN or infinity; see MODEL.COPT.ENCODER" in told
    assert "\n" not in told


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_are_refused_with_their_prompt(word_count_encoder, value):
    """As float16 gives them, which is too small for some language models."""
    encode = word_count_encoder.encode

    def overflowing(prompts):
        rows = encode(prompts)
        rows[[text == "a dim sky" for text in prompts], 1] = value
        return rows

    word_count_encoder.encode = overflowing
    assert build_bank(["road", "car"], ["a dim {}"], word_count_encoder).isfinite().all()
    told = r"^word-count/1 gives NaN or infinity for the prompt 'a dim sky': set MODEL"
    with pytest.raises(InputError, match=told):
        build_bank(["road", "sky"], ["a lit {}", "a dim {}"], word_count_encoder)
