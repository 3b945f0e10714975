"""The command line around the renaming."""

import pytest
import torch
from safetensors.torch import load_file

from copt_d2.engine import load_student_weights
from copt_d2.modeling import MixTransformer, build_segmentation_network


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("convert_weights")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return MixTransformer("b0").state_dict()


def error_line(tool, capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        tool.main([str(argument) for argument in arguments])
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


def of_ours(network):
    """A training checkpoint whose teacher is the student + 1."""
    state = {f"student.{name}": value for name, value in network.items()}
    state |= {f"teacher.network.{name}": value + 1 for name, value in network.items()}
    state["feature_losses.copt.memory_bank"] = torch.ones(2)
    return {"model": state, "optimizer": {}, "iteration": 4, "format": 2, "classes": ["road"]}


def of_the_authors(network):
    """The same under the authors' names."""
    renamed = {n.replace("sem_seg_head.", "decode_head."): value for n, value in network.items()}
    state = {f"model.{name}": value for name, value in renamed.items()}
    state |= {f"ema_model.{name}": value + 1 for name, value in renamed.items()}
    return {"state_dict": state, "meta": {"iter": 40000}}


@pytest.fixture
def network(tiny_cfg):
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.VARIANT = "b0"
    torch.manual_seed(0)
    return build_segmentation_network(tiny_cfg)


@pytest.mark.parametrize("form", [of_ours, of_the_authors])
@pytest.mark.parametrize(
    ("part", "offset"),
    [(None, 0), ("student", 0), ("model", 0), ("teacher", 1), ("ema_model", 1)],
)
def test_both_networks_of_a_checkpoint(tool, network, tmp_path, capsys, form, part, offset):
    wanted = {name: value + offset for name, value in network.state_dict().items()}
    torch.save(form(network.state_dict()), tmp_path / "in.pth")
    target = tmp_path / "out.safetensors"
    tool.main([str(tmp_path / "in.pth"), str(target), *(["--part", part] if part else [])])
    assert capsys.readouterr().out.endswith(f"{len(wanted)} tensors; use it as MODEL.WEIGHTS\n")
    assert load_student_weights(network, str(target)) is None
    assert all(torch.equal(network.state_dict()[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("form", [of_ours, of_the_authors])
@pytest.mark.parametrize("part", ["teacher", "ema_model"])
def test_a_checkpoint_without_a_teacher(tool, network, tmp_path, capsys, form, part):
    stored = form(network.state_dict())
    wrapper = "model" if "model" in stored else "state_dict"
    kept = {k: v for k, v in stored[wrapper].items() if k.startswith(("student.", "model."))}
    torch.save({wrapper: kept}, tmp_path / "in.pth")
    line = error_line(tool, capsys, tmp_path / "in.pth", tmp_path / "out.pth", "--part", part)
    prefix = "teacher.network." if form is of_ours else "ema_model."
    assert "in.pth: " in line
    assert f"no key begins with '{prefix}'; the first is '{next(iter(kept))}'" in line


def test_tensors_that_share_their_memory(tool, network, tmp_path):
    """A view of 400 MB would write them all, and safetensors refuses two names of one memory."""
    state = dict(network.state_dict())
    large = torch.zeros(100_000_000)
    for name in ("sem_seg_head.conv_seg.weight", "sem_seg_head.conv_seg.bias"):
        state[name] = large[: state[name].numel()].reshape(state[name].shape)
    for suffix in (".pth", ".safetensors"):
        tool.write(state, tmp_path / f"out{suffix}")
        assert (tmp_path / f"out{suffix}").stat().st_size < 50_000_000


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights(tool, encoder, tmp_path, capsys, suffix):
    source, target = tmp_path / "mit_b0.pth", tmp_path / "new" / f"ours{suffix}"
    torch.save({"state_dict": {**encoder, "head.weight": torch.ones(1)}}, source)
    tool.main([str(source), str(target), "--part", "mit"])
    assert f"wrote {target}: 176 tensors; use it as MODEL.MIT.WEIGHTS" in capsys.readouterr().out
    read = load_file(target) if suffix == ".safetensors" else torch.load(target, weights_only=True)
    assert all(torch.equal(read[name], value) for name, value in encoder.items())


def test_what_is_wrong_is_said_in_one_line(tool, encoder, tmp_path, capsys):
    source, target = tmp_path / "in.pth", tmp_path / "out.pth"
    assert error_line(tool, capsys, source, target) == f"no such file: {source}"
    source.write_bytes(b"nothing")
    assert error_line(tool, capsys, source, target).startswith(f"{source} ")
    torch.save({"state_dict": encoder}, source)
    line = error_line(tool, capsys, source, target)
    assert "no key begins with 'model.'" in line
    assert "the first is 'patch_embed1.proj.weight'" in line
    assert "--part mit is for encoders" in line
    line = error_line(tool, capsys, source, tmp_path / "out.onnx", "--part", "mit")
    assert line.endswith("OUT must end with .pth or .safetensors")
    (tmp_path / "file").write_text("")
    line = error_line(tool, capsys, source, tmp_path / "file" / "out.pth", "--part", "mit")
    assert "cannot be written" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.pth"]


def test_an_encoder_of_no_variant(tool, encoder, tmp_path, capsys):
    source, target = tmp_path / "in.pth", tmp_path / "out.pth"
    torch.save({**encoder, "norm2.bias": torch.ones(3)}, source)
    line = error_line(tool, capsys, source, target, "--part", "mit")
    assert f"{source}: norm2.bias is (3,), not (64,) as in MiT-B0" in line
    assert not target.exists()
