"""Layouts of MiT weights: each is written out from the official one by rules of its own."""

import re

import pytest
import torch

from copt_d2.checkpoint import convert_mit
from copt_d2.modeling import MixTransformer


@pytest.fixture(scope="module")
def official():
    torch.manual_seed(0)
    return {name: torch.randn_like(v) for name, v in MixTransformer("b0").state_dict().items()}


def in_openmmlab(state):
    """The layout of mmseg's ``MixVisionTransformer``."""
    stored = {}
    for name, value in state.items():
        stage = re.search(r"\d", name)[0]
        part = name.partition(".")[2]
        zero = str(int(stage) - 1)
        if name.startswith("patch_embed"):
            new = f"layers.{zero}.0.{part}".replace(".proj.", ".projection.")
        elif name.startswith("norm"):
            new = f"layers.{zero}.2.{part}"
        else:
            new = f"layers.{zero}.1.{part}"
        if ".attn.q." in new:
            rest = state[name.replace(".q.", ".kv.")]
            new, value = new.replace("attn.q.", "attn.attn.in_proj_"), torch.cat([value, rest])
        elif ".attn.kv." in new:
            continue
        new = new.replace(".attn.proj.", ".attn.attn.out_proj.")
        for inner, index in (("fc1", 0), ("dwconv.dwconv", 1), ("fc2", 4)):
            new = new.replace(f".mlp.{inner}.", f".ffn.layers.{index}.")
        if re.search(r"ffn.layers.[04].weight", new):
            value = value[:, :, None, None]
        stored[new] = value
    return stored


def in_hugging_face(state):
    """The layout of the files ``nvidia/mit-b*``."""
    stored = {}
    for name, value in state.items():
        new = re.sub(r"^patch_embed(\d)", lambda m: f"patch_embeddings.{int(m[1]) - 1}", name)
        new = re.sub(r"^block(\d)", lambda m: f"block.{int(m[1]) - 1}", new)
        new = re.sub(r"^norm(\d)", lambda m: f"layer_norm.{int(m[1]) - 1}", new)
        new = re.sub(r"^(patch_embeddings.\d).norm", r"\1.layer_norm", new)
        new = re.sub(r"^(block.\d.\d+).norm(\d)", r"\1.layer_norm_\2", new)
        new = new.replace(".attn.proj.", ".attention.output.dense.").replace(
            ".mlp.fc", ".mlp.dense"
        )
        new = new.replace(".attn.norm.", ".attention.self.layer_norm.")
        new = new.replace(".attn.sr.", ".attention.self.sr.")
        new = new.replace(".attn.q.", ".attention.self.query.")
        if ".attn.kv." in new:
            for part, rows in zip(("key", "value"), value.chunk(2), strict=True):
                key = new.replace(".attn.kv.", f".attention.self.{part}.")
                stored[f"segformer.encoder.{key}"] = rows
            continue
        stored["segformer.encoder." + new] = value
    return stored


LAYOUTS = {"official": dict, "OpenMMLab": in_openmmlab, "Hugging Face": in_hugging_face}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_every_layout_becomes_ours(official, layout, wrapper):
    stored = LAYOUTS[layout](official)
    stored = {**stored, "head.weight": torch.ones(2), "classifier.bias": torch.ones(2)}
    converted = convert_mit({wrapper: stored} if wrapper else stored)
    assert list(converted) == list(MixTransformer("b0").state_dict())
    assert all(torch.equal(converted[name], value) for name, value in official.items())


def test_the_layouts_differ(official):
    assert "layers.0.1.0.attn.attn.in_proj_weight" in in_openmmlab(official)
    assert "segformer.encoder.block.3.1.attention.self.key.bias" in in_hugging_face(official)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_and_unknown_keys_are_named(official, layout):
    stored = LAYOUTS[layout](official)
    gone = next(name for name in stored if "dwconv" in name or "ffn.layers.1" in name)
    with pytest.raises(KeyError, match=f"[ ']{re.escape(gone)} is missing"):
        convert_mit({name: value for name, value in stored.items() if name != gone})
    with pytest.raises(KeyError, match="surprise is unknown"):
        convert_mit({**stored, "surprise": torch.ones(1)})


def test_a_missing_block_is_named(official):
    cut = {name: value for name, value in official.items() if not name.startswith("block4.1.")}
    with pytest.raises(KeyError, match=r"block4.1.norm1.weight is missing"):
        convert_mit(cut)


def test_other_weights_are_refused():
    with pytest.raises(KeyError, match="no MiT weights in a known layout"):
        convert_mit({"conv1.weight": torch.ones(1)})


@pytest.mark.parametrize("shape", [(), (2,), (32, 3)])
def test_values_that_make_no_tensor_of_ours(official, shape):
    stored = in_hugging_face(official)
    key = "segformer.encoder.block.0.0.attention.self.value.weight"
    with pytest.raises(
        KeyError, match=rf"{re.escape(key)} is {re.escape(str(shape))}, which makes"
    ):
        convert_mit({**stored, key: torch.ones(shape)})


def test_two_names_of_one_tensor(official):
    twice = {**official, "module.norm1.bias": official["norm1.bias"]}
    with pytest.raises(KeyError, match=r"norm1.bias and module.norm1.bias are the same"):
        convert_mit(twice)
