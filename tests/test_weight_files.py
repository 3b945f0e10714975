"""Damaged files end in one line, whatever torch raises on them."""

from contextlib import suppress

import pytest
import torch
from safetensors.torch import save

from copt_d2.errors import InputError
from copt_d2.weight_files import read_tensors

STATE = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


def content(kind, path):
    if kind == "safetensors":
        return save(STATE)
    torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_cut_anywhere(tmp_path, kind):
    path = tmp_path / ("cut.safetensors" if kind == "safetensors" else "cut.pth")
    whole = content(kind, path)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut.*(cannot be read \(.+\)|is no file of tensors)"):
            read_tensors(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_wrong_byte_anywhere(tmp_path, kind):
    path = tmp_path / ("wrong.safetensors" if kind == "safetensors" else "wrong.pth")
    whole = content(kind, path)
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0x15
        path.write_bytes(bytes(damaged))
        with suppress(InputError):
            read_tensors(path)  # may succeed: a wrong number is a number, too
