"""Released UDA checkpoints: three networks in one file, under the authors' names."""

import re

import pytest
import torch

from copt_d2.checkpoint import convert_mmseg
from copt_d2.engine import load_student_weights
from copt_d2.errors import InputError
from copt_d2.modeling import build_segmentation_network


@pytest.fixture(params=["HRDA", "DAFormer"])
def network(request, tiny_cfg):
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.VARIANT = "b0"
    tiny_cfg.MODEL.HRDA.ENABLED = request.param == "HRDA"
    torch.manual_seed(0)
    return build_segmentation_network(tiny_cfg)


def released_names(network):
    """Our state under the authors' names."""
    hrda = any(name.startswith("attention_head.") for name in network.state_dict())
    stored = {}
    for name, value in network.state_dict().items():
        name = name.replace("attention_head.", "decode_head.scale_attention.")
        inner = "decode_head.head." if hrda else "decode_head."
        stored[name.replace("sem_seg_head.", inner)] = value
    return stored


@pytest.fixture
def released(network):
    """A file as the authors' training saves it: teacher = student + 1, ImageNet copy = 0."""
    one = released_names(network)
    state = {f"model.{name}": value for name, value in one.items()}
    state |= {f"ema_model.{name}": value + 1 for name, value in one.items()}
    state |= {f"imnet_model.{name}": value * 0 for name, value in one.items()}
    return {"meta": {"iter": 40000}, "state_dict": state, "optimizer": {}}


@pytest.mark.parametrize(("part", "offset"), [("model", 0), ("ema_model", 1)])
def test_student_and_teacher_are_told_apart(network, released, part, offset):
    converted = convert_mmseg(released, part)
    wanted = network.state_dict()
    assert set(converted) == set(wanted)
    assert all(torch.equal(converted[name], value + offset) for name, value in wanted.items())
    network.load_state_dict(converted)


def test_wrappers_and_a_single_network(network, released):
    inner = {f"module.{name}": value for name, value in released["state_dict"].items()}
    assert set(convert_mmseg(inner)) == set(network.state_dict())
    assert set(convert_mmseg({"model": inner})) == set(network.state_dict())
    assert set(convert_mmseg(released_names(network))) == set(network.state_dict())


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_released_file_is_read_as_it_is(network, released, wrapper, tmp_path):
    file = tmp_path / "iter_40000.pth"
    released[wrapper] = released.pop("state_dict")
    torch.save(released, file)
    wanted = {name: value.clone() for name, value in network.state_dict().items()}
    for value in network.state_dict().values():
        value.zero_()
    assert load_student_weights(network, str(file)) is None
    assert all(torch.equal(network.state_dict()[name], value) for name, value in wanted.items())
    broken = next(name for name in released[wrapper] if name.endswith("conv_seg.bias"))
    del released[wrapper][broken]
    torch.save(released, file)
    with pytest.raises(InputError, match=r"iter_40000.pth.*conv_seg.bias"):
        load_student_weights(network, str(file))


def test_extras_are_left_out_with_a_notice(network, released, caplog):
    caplog.set_level("INFO", "copt_d2.checkpoint")
    for name in ("cls_head.weight", "proj_head.0.bias", "decode_head.auxiliary_head.x"):
        released["state_dict"][f"model.{name}"] = torch.ones(1)
    released["state_dict"]["project.bias"] = torch.ones(1)  # beside the networks
    assert set(convert_mmseg(released)) == set(network.state_dict())
    for name in ("proj_head.0.bias", "project.bias"):
        assert caplog.text.count(name) == 1


@pytest.mark.parametrize("around", ["", "module."])
@pytest.mark.parametrize("part", ["model", "ema_model"])
@pytest.mark.parametrize(
    "name", ["backbone.block1.0.attn.q.bias", "decode_head.", "backbone.norm4.weight"]
)
def test_a_missing_key_is_named_as_in_the_file(released, name, part, around):
    stored = {around + key: value for key, value in released["state_dict"].items()}
    gone = next(key for key in stored if key.startswith(f"{around}{part}.{name}"))
    del stored[gone]
    with pytest.raises(KeyError, match=rf"[ '\[]{re.escape(gone)}\b"):
        convert_mmseg({"state_dict": stored}, part)


def test_an_unknown_key_is_named(released):
    for key in ("neck.weight", "backbone.extra.bias", "decode_head.conv_seg.extra"):
        stored = {f"module.{k}": value for k, value in released["state_dict"].items()}
        stored[f"module.model.{key}"] = torch.ones(1)
        with pytest.raises(KeyError, match=rf"module\.model\.{re.escape(key)}"):
            convert_mmseg(stored)


def test_files_of_other_kinds(released):
    with pytest.raises(KeyError, match=r"no key begins with 'model\.'.*'fc.weight'"):
        convert_mmseg({"fc.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="model, ema_model"):
        convert_mmseg(released, "imnet_model")


def test_two_names_of_one_tensor(released):
    key = next(iter(released["state_dict"]))
    released["state_dict"][f"module.{key}"] = torch.ones(1)
    with pytest.raises(KeyError, match=r"with 'module\.' and without it"):
        convert_mmseg(released)


def test_a_long_list_is_cut(released):
    kept = {k: v for k, v in released["state_dict"].items() if "decode_head" not in k}
    kept["model.decode_head.conv_seg.bias"] = torch.ones(2)
    with pytest.raises(KeyError, match=r"conv_seg\.weight.* and \d+ more, unknown \[\]") as raised:
        convert_mmseg(kept)
    assert len(str(raised.value)) < 1000
