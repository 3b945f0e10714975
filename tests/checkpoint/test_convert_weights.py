"""The command line around the renaming."""

import pytest
import torch
from safetensors.torch import load_file

from copt_d2.modeling import MixTransformer


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
