"""Which files hold a student, and what is said of those that do not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from copt_d2.engine import load_student_weights
from copt_d2.errors import InputError

LEGACY = {"_use_new_zipfile_serialization": False}


def test_student_of_every_kind_of_file(tmp_path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    state = source.state_dict()
    training = {"model": {f"student.{k}": v for k, v in state.items()}, "iteration": 7}
    training["model"]["teacher.network.weight"] = torch.zeros(2, 3)
    torch.save(training, tmp_path / "training.pth")
    torch.save(state, tmp_path / "bare.pth")
    save_file(state, tmp_path / "bare.safetensors")
    # as mmcv's publishing script writes files
    torch.save(state, tmp_path / "legacy.pth", **LEGACY)
    files = ("bare.pth", None), ("bare.safetensors", None), ("legacy.pth", None)
    for name, steps in (("training.pth", 7), *files):
        nn.init.zeros_(target.weight)
        assert load_student_weights(target, str(tmp_path / name)) == steps
        assert torch.equal(target.weight, source.weight)


def test_student_that_does_not_fit(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "two.pth")
    with pytest.raises(InputError, match=r"weight is \(2, 3\) there and \(5, 3\) here, and 1 more"):
        load_student_weights(nn.Linear(3, 5), str(tmp_path / "two.pth"))
    with pytest.raises(InputError, match=r"count than the config: bias is unknown here$"):
        load_student_weights(nn.Linear(3, 2, bias=False), str(tmp_path / "two.pth"))
    torch.save({"patch_embed1.proj.weight": torch.ones(1)}, tmp_path / "mit_b5.pth")
    with pytest.raises(InputError, match=r"mit_b5.pth holds a MiT encoder alone: set MODEL.MIT."):
        load_student_weights(nn.Linear(3, 2), str(tmp_path / "mit_b5.pth"))
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"broken\.safetensors cannot be read"):
        load_student_weights(nn.Linear(3, 2), str(tmp_path / "broken.safetensors"))
