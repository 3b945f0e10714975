"""Builds a predictor of what a checkpoint holds: weights, config, classes."""

import os
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from ..checkpoint import ALIASES
from ..data import TestMapper
from ..data.bit_depth import adopt_bit_depths
from ..data.description.register import colors_of
from ..data.label_spaces import CAMVID, CITYSCAPES
from ..data.reading import MAX_BITS
from ..engine.class_checks import check_format, checkpoint_identity
from ..engine.config_files import load_config, stored_config, student_only
from ..engine.student_weights import load_network, read_weights
from ..errors import InputError
from .predictor import Predictor
from .sources import weights_file

SPACES = (CITYSCAPES, CAMVID)


def load_model(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    config: str | os.PathLike[str] | None = None,
    part: str = "student",
) -> Predictor:
    """A trained model, ready to predict; nothing in its file is executed.

    Args:
        source: a run's folder (its newest checkpoint), a .pth or .safetensors file, a Hugging Face
            id (its .safetensors file), or a checkpoint that the authors of DAFormer, HRDA, MIC or
            CoPT have released.
        device: where the network runs; ``None`` = a GPU if there is one.
        config: path or name of a config, such as "gta2cs", for files that hold none; where a file
            holds one, this one counts.
        part: "student", or the "teacher" of a training checkpoint.
    Raises:
        InputError: a ValueError of one line, if there is no such model, or it does not fit.
    """
    part = ALIASES.get(part, part)
    path = weights_file(source, part)
    stored = read_weights(path)
    check_format(path, stored)
    cfg = _config_of(path, stored, config)
    cfg.MODEL.DEVICE = _device(device)
    student_only(cfg)
    cfg.MODEL.TIMM.WEIGHTS = ""  # as all of the encoder's, they are in the file
    network = build_model(cfg)
    load_network(network.student, stored, str(path), part)
    names = _identity(path, stored, cfg)
    return Predictor(network, TestMapper(cfg), bit_depth=_bit_depth(cfg), **names)


def _config_of(path: Path, stored: dict[str, Any], config: Any) -> CfgNode:
    if config is not None:
        cfg = load_config(os.fspath(config))
        adopt_bit_depths(cfg, stored.get("config"))
        return cfg
    if "config" not in stored or "model" not in stored:
        raise InputError(
            f"{path} holds no config: say which one it was trained with, as "
            'load_model(..., config="gta2cs") or --config-file gta2cs'
        )
    return stored_config(stored["config"], str(path))


def _device(device: str | torch.device | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()  # "meta" cannot
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"device {str(device)!r} cannot be used: {reason}") from error
    return str(device)


def _identity(path: Path, stored: dict[str, Any], cfg: CfgNode) -> dict[str, Any]:
    """Classes, palette, words and things; what the file does not say is found by its classes."""
    count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    entries = stored if "model" in stored and "classes" in stored else _of_data_sets(cfg)
    names = entries.get("classes") or [f"class {k}" for k in range(count)]
    if not _are_texts(names) or len(names) != count:
        raise InputError(f"{path} is damaged: it has {count} classes and the names {names!r:.80}")
    space = next((s for s in SPACES if tuple(s.classes) == tuple(names)), None)
    palette = entries.get("colors") or (space.palette if space else colors_of([None] * count))
    things = entries.get("things", space.things if space else ())
    words = entries.get("words") or [[name] for name in names]
    if not _are_colors(palette, count) or not set(things) <= set(range(count)):
        raise InputError(
            f"{path} is damaged: its colours or things are not those of {count} classes"
        )
    if len(words) != count or not all(map(_are_texts, words)):
        raise InputError(f"{path} is damaged: its words are not those of {count} classes")
    return {"classes": names, "palette": palette, "words": words, "things": things}


def _of_data_sets(cfg: CfgNode) -> dict[str, Any]:
    """What the registered data sets of the config say, if they have as many classes."""
    entries = checkpoint_identity(cfg)
    is_known = len(entries.get("classes", ())) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    return entries if is_known else {}


def _are_texts(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)


def _are_colors(values: Any, count: int) -> bool:
    return len(values) == count and all(
        len(color) == 3 and all(isinstance(part, int) and 0 <= part <= 255 for part in color)
        for color in values
    )


def _bit_depth(cfg: CfgNode) -> int:
    """Of 16-bit images that no data set names: that of the camera that the model was made for."""
    if cfg.INPUT.BIT_DEPTH:
        return cfg.INPUT.BIT_DEPTH
    known = dict(map(tuple, cfg.INPUT.BIT_DEPTHS))
    for key in ("TARGET", "TEST", "TRAIN"):
        found = [known[name] for name in cfg.DATASETS[key] if name in known]
        if found:
            return min(found)
    return MAX_BITS
