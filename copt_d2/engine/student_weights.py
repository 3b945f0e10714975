"""The weights of a training checkpoint, a bare network or a released checkpoint, in a student."""

import pickle
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import PARTS, has_released_names, network_names
from ..data.bit_depth import adopt_bit_depths
from ..errors import InputError
from ..weight_files import and_more, fit_tensors, named_values, read_tensors
from .checkpointing import read_checkpoint
from .class_checks import check_format, check_stored_classes
from .network_file import read_network

# beginning of a file as torch wrote it before version 1.6, and mmcv's publishing script after it
LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


def _is_legacy(file: Path) -> bool:
    with open(file, "rb") as stream:
        return stream.read(len(LEGACY_START)) == LEGACY_START


def read_weights(file: Path) -> dict[str, Any]:
    """What a .pth or .safetensors file holds; see `load_student_weights` for the errors."""
    if file.is_file() and file.suffix == ".safetensors":
        return read_network(file)
    if file.is_file() and _is_legacy(file):
        return read_tensors(file, "MODEL.WEIGHTS")
    return read_checkpoint(file)


def load_student_weights(
    network: nn.Module,
    path: str,
    cfg: CfgNode | None = None,
    training: bool = False,
    *,
    part: str = "student",
) -> int | None:
    """Loads one network of a training checkpoint, a bare network, or one of a checkpoint released
    by the authors of DAFormer, HRDA, MIC or CoPT, from a .pth or .safetensors file.

    Args:
        network: gets the weights.
        path: the file.
        cfg: its data sets must have the file's class names, if it holds any, and for evaluation it
            gets the bit depths that the file holds; ``None`` = whatever they are.
        training: whether these are DATASETS.TRAIN, else DATASETS.TEST.
        part: "student", or the "teacher" of a checkpoint that has one.
    Returns:
        The number of steps after which the training checkpoint was written; ``None`` for other
        files.
    Raises:
        InputError: if the file cannot be read, has no such part, is of another architecture, of
            other classes or of a later version of this project, or holds something else than
            finite numbers.
    """
    _check_part(part)
    stored = read_weights(Path(path))
    check_format(path, stored)
    if cfg is not None:
        check_stored_classes(path, stored, cfg, training)
        if not training:
            adopt_bit_depths(cfg, stored.get("config"))
    return load_network(network, stored, path, part)


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise InputError(f"MODEL.WEIGHTS_PART is {part!r}; choose from {', '.join(PARTS)}")


def load_network(network: nn.Module, stored: dict[str, Any], path: str, part: str) -> int | None:
    """The same of what `read_weights` has read; looks at the tensors alone."""
    _check_part(part)
    what = f"MODEL.WEIGHTS {path}"
    state = named_values(stored, what)
    try:
        names = network_names(state, part)
    except KeyError as error:
        raise InputError(f"{what}: {error.args[0]}") from error
    fit = fit_tensors(state, names, network.state_dict())
    wrong = [*fit.misshapen, *fit.missing, *fit.unknown]
    if wrong and "patch_embed1.proj.weight" in names:
        raise InputError(
            f'{what} holds a MiT encoder alone: set MODEL.MIT.WEIGHTS to it and MODEL.WEIGHTS to ""'
        )
    if wrong:
        raise InputError(
            f"{what} is of another architecture or class count than the config: {and_more(wrong)}"
        )
    fit.check_broken(what)
    network.load_state_dict(fit.tensors)
    return None if has_released_names(state) else _steps(stored)


def _steps(stored: dict[str, Any]) -> int | None:
    """The iteration of a training checkpoint."""
    steps = stored.get("iteration") if "model" in stored else None
    is_count = isinstance(steps, int) and not isinstance(steps, bool) and steps >= 0
    return steps if is_count else None
