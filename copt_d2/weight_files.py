"""Files of tensors from elsewhere, read as data."""

import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .errors import InputError

# what torch and safetensors raise on damaged files; of those before torch 1.6 no byte is checked
DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError),
    *(AttributeError, struct.error, SafetensorError),
)


def read_tensors(path: Path, key: str = "") -> dict[str, Any]:
    """Named tensors and plain values of a .pth or .safetensors file; nothing in it is executed.

    Args:
        path: the file.
        key: the config key that names it, for messages.
    Raises:
        InputError: if the file is missing, cannot be read or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"{key}: no such file {path}" if key else f"no such file: {path}")
    what = f"{key} {path}".strip()
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{what} is no file of tensors; Python objects are never executed"
        ) from error
    except DAMAGED as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{what} cannot be read ({reason})") from error
    if not isinstance(state, dict):
        raise InputError(f"{what} holds a {type(state).__name__}, not named tensors")
    return state
