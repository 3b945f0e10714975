"""Files of tensors from elsewhere, read as data, and what is in them."""

import lzma
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .errors import InputError

# what zipfile, torch and safetensors raise on damaged files; of those before torch 1.6 no byte is
# checked
DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError),
    *(AttributeError, ArithmeticError, MemoryError, struct.error, SafetensorError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
WRAPPERS = ("state_dict", "model")
LONGEST_NAME = 500
DEEPEST = 3  # {"model": {"state_dict": {"model": {...}}}}
# a tensor may repeat a few stored numbers, but not until they fill the memory
LARGEST_REPETITION = 2**28


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
        state = load_pickled(path)
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


def load_pickled(path: Path) -> Any:
    """What ``torch.save`` has written, as data. Every byte of a zip archive is compared with its
    checksums, which torch does not do; files of torch before 1.6 have none.

    Raises:
        pickle.UnpicklingError: if it holds other objects than tensors and plain values.
        Exception: one of DAMAGED, if it is damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
    with warnings.catch_warnings():  # of odd tensors, which are refused by name
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def named_values(stored: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """The entries of a network: what lies under ``state_dict`` and ``model``, where there are such.

    Args:
        stored: content of a file.
        what: names the file, for messages.
    Raises:
        InputError: if a wrapper holds something else, or a key is no name.
    """
    for depth in range(DEEPEST + 1):
        wrapper = next((w for w in WRAPPERS if _wraps(stored, w)), None)
        if wrapper is None:
            break
        if depth == DEEPEST:
            raise InputError(f"{what} nests its tensors too deep: give {{name: tensor}}")
        stored = stored[wrapper]
        if not isinstance(stored, Mapping):
            kind = type(stored).__name__
            raise InputError(f"{what} holds a {kind} under {wrapper!r}, not named tensors")
    if not stored:
        raise InputError(f"{what} holds nothing")
    for key in stored:
        if not isinstance(key, str) or not key.isprintable() or len(key) > LONGEST_NAME:
            shown = f"{key!r:.60}" if isinstance(key, (str, bytes)) else in_words(key)
            raise InputError(f"{what} holds the key {shown}, which is no name of a tensor")
    return dict(stored)


def bare_names(keys: Iterable[str]) -> dict[str, str]:
    """Keys without the ``module.`` that torch's DistributedDataParallel puts before all of them ->
    the keys.
    """
    keys = list(keys)
    around = "module." if all(key.startswith("module.") for key in keys) else ""
    return {key.removeprefix(around): key for key in keys}


def _wraps(stored: Mapping[Any, Any], name: str) -> bool:
    """Whether an entry is a wrapper: a network has parts of these names only with a dot."""
    return name in stored and not isinstance(stored[name], Tensor)


def fault_of(value: Any) -> str:
    """Why a value cannot be the weights of a layer, "" = it can, up to its shape and type."""
    if not isinstance(value, Tensor):
        return f"is {in_words(value)}, no tensor"
    if value.is_nested or value.is_quantized or value.layout != torch.strided:
        kind = "nested" if value.is_nested else "quantised" if value.is_quantized else "sparse"
        return f"is a {kind} tensor: store plain numbers"
    if value.is_complex():
        return f"is {_type_name(value)}: store real numbers"
    if value.is_meta:
        return "has no values (device meta)"
    stored = value.untyped_storage().nbytes() // value.element_size()
    if value.numel() > max(stored, LARGEST_REPETITION):
        return f"claims {value.numel()} numbers of {stored} that are stored"
    return ""


def in_words(value: Any) -> str:
    """What a value is, for messages: "3 (int)", "None", "a list"."""
    if value is None:
        return "None"
    # a message has no room for hundreds of digits
    is_short = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)
    return f"{value} ({type(value).__name__})" if is_short else f"a {type(value).__name__}"


def _type_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def check_finite(value: Tensor) -> str:
    """ "holds NaN or infinity" of a tensor that does, else ""; see `fault_of` for the rest."""
    # the smallest floating types have no `isfinite`
    compared = value.float() if value.element_size() == 1 else value
    is_broken = value.is_floating_point() and not compared.isfinite().all()
    return "holds NaN or infinity" if is_broken else ""


def check_contents(state: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    """Whether entries can be weights at all, of whatever network.

    Args:
        state: entries of a file.
        keys: those that count.
        what: names the file, for messages.
    Raises:
        InputError: naming the first that is no plain tensor or not finite.
    """
    for key in keys:
        fault = fault_of(state[key]) or check_finite(state[key])
        if fault:
            raise InputError(f"{what}: {key} {fault}")


@dataclass
class Fit:
    """What a file has of the tensors of a network; all texts name keys as they stand in the file.

    Attributes:
        tensors: by the network's names, in its types.
        missing: "KEY is missing there".
        unknown: "KEY is unknown here".
        misshapen: "KEY is (2, 3) there and (5, 3) here".
        broken: "KEY holds NaN or infinity", "KEY is None, no tensor", ...
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check_broken(self, what: str) -> None:
        """Raises:
        InputError: naming the file, ``what``, and the first that is broken.
        """
        if self.broken:
            raise InputError(f"{what}: {and_more(self.broken)}")


def and_more(texts: Sequence[str]) -> str:
    """The first, and how many there are besides."""
    return texts[0] + (f", and {len(texts) - 1} more like it" if len(texts) > 1 else "")


def fit_tensors(
    state: Mapping[str, Any], names: Mapping[str, str], wanted: Mapping[str, Tensor]
) -> Fit:
    """Compares the entries of a file with a network.

    Args:
        state: entries of the file.
        names: the network's name of each entry -> its key in ``state``.
        wanted: the network's ``state_dict``.
    """
    fit = Fit()
    for name, tensor in wanted.items():
        if name not in names:
            fit.missing.append(f"{_key_like(name, names)} is missing there")
            continue
        key, value = names[name], state[names[name]]
        fault = fault_of(value)
        if not fault and value.shape != tensor.shape:
            shapes = f"{tuple(value.shape)} there and {tuple(tensor.shape)} here"
            fit.misshapen.append(f"{key} is {shapes}")
            continue
        if not fault:
            fit.tensors[name], fault = _as_wanted(value, tensor)
        fit.broken += [f"{key} {fault}"] if fault else []
    fit.unknown = [f"{key} is unknown here" for name, key in names.items() if name not in wanted]
    return fit


def _as_wanted(value: Tensor, wanted: Tensor) -> tuple[Tensor, str]:
    """A tensor in the type that a network has, and what is wrong with it.

    Any floating type becomes the network's, any type of integers a counter.
    """
    converted = value.detach().to(wanted.dtype)
    fault = f"is {_type_name(value)}, not {_type_name(wanted)}"
    if wanted.is_floating_point():
        return converted, check_finite(converted) if value.is_floating_point() else fault
    if value.is_floating_point():  # whole numbers that someone has stored in another type
        return converted, check_finite(value) or (fault if (value != value.round()).any() else "")
    return converted, fault if (value.dtype == torch.bool) != (wanted.dtype == torch.bool) else ""


def _key_like(name: str, names: Mapping[str, str]) -> str:
    """The key that an entry would have in a file, by the prefix of the others there."""
    for ours, key in names.items():
        if key.endswith(ours):
            return key.removesuffix(ours) + name
    return name
