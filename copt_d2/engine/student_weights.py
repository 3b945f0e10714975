"""The student's weights of a training checkpoint, a bare network or a released checkpoint."""

import pickle
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import convert_mmseg, is_released, student_state
from ..errors import InputError
from ..weight_files import read_tensors
from .checkpointing import read_checkpoint
from .class_checks import check_format, check_stored_classes

# beginning of a file as torch wrote it before version 1.6, and mmcv's publishing script after it
LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


def _is_legacy(file: Path) -> bool:
    with open(file, "rb") as stream:
        return stream.read(len(LEGACY_START)) == LEGACY_START


def load_student_weights(
    network: nn.Module, path: str, cfg: CfgNode | None = None, training: bool = False
) -> int | None:
    """Loads the student of a training checkpoint, a bare network, or a checkpoint released by the
    authors of DAFormer, HRDA, MIC or CoPT, from a .pth or .safetensors file.

    Args:
        network: gets the weights.
        path: the file.
        cfg: its data sets must have the file's class names, if it holds any; ``None`` = whatever
            they are.
        training: whether these are DATASETS.TRAIN, else DATASETS.TEST.
    Returns:
        The number of steps after which the training checkpoint was written; ``None`` for other
        files.
    Raises:
        InputError: if the file cannot be read, or is of another architecture, of other classes or
            of a later version of this project.
    """
    file = Path(path)
    if file.is_file() and (file.suffix == ".safetensors" or _is_legacy(file)):
        stored = read_tensors(file, "MODEL.WEIGHTS")
    else:
        stored = read_checkpoint(file)
    check_format(path, stored)
    if cfg is not None:
        check_stored_classes(path, stored, cfg, training)
    released = is_released(stored)
    try:
        state = convert_mmseg(stored) if released else student_state(stored.get("model", stored))
    except KeyError as error:
        raise InputError(f"MODEL.WEIGHTS {path}: {error.args[0]}") from error
    wanted = network.state_dict()
    wrong = [
        f"{key} is {tuple(state[key].shape)} there and {tuple(wanted[key].shape)} here"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    wrong += [f"{key} is missing there" for key in wanted if key not in state]
    wrong += [f"{key} is unknown here" for key in state if key not in wanted]
    if wrong:
        if "patch_embed1.proj.weight" in state:
            raise InputError(
                f"MODEL.WEIGHTS {path} holds a MiT encoder alone: set MODEL.MIT.WEIGHTS to it and "
                'MODEL.WEIGHTS to ""'
            )
        more = f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        raise InputError(
            f"MODEL.WEIGHTS {path} is of another architecture or class count than the config: "
            f"{wrong[0]}{more}"
        )
    network.load_state_dict(state)
    return stored.get("iteration") if "model" in stored and not released else None
