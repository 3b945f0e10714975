"""Whether all that meets in a run has the same classes: data sets, checkpoints, weights."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..class_names import ClassList, require_same_classes, require_words_in_order, synonyms_of
from ..errors import InputError

logger = logging.getLogger("copt_d2.classes")
# of our checkpoints; 1 had neither a number nor class names. It grows when an earlier version would
# read a file wrongly, not with entries that it passes over (colors, words, things)
FORMAT = 2


def data_set_classes(cfg: CfgNode, key: str) -> list[ClassList]:
    """The classes of each data set of DATASETS.``key`` that is registered with class names."""
    found = []
    for name in cfg.DATASETS[key]:
        # `get` would register an unknown name
        names = MetadataCatalog.get(name).get("stuff_classes") if name in MetadataCatalog else None
        if names:
            found.append(ClassList(f"{name} in DATASETS.{key}", names))
    return found


def check_class_names(cfg: CfgNode, training: bool = True) -> None:
    """Compares the class names of the data sets, and looks at keys that hold train ids.

    Args:
        cfg: the whole config; its data sets are registered.
        training: whether the training data sets are used, too.
    Raises:
        InputError: naming two data sets and the first class that differs, or the key.
    """
    keys = ("TRAIN", "TARGET_LABELED", "TARGET", "TEST") if training else ("TEST",)
    lists = [classes for key in keys for classes in data_set_classes(cfg, key)]
    for classes in lists[1:]:
        remedy = "register both with the same names in the same order, or name other data sets"
        require_same_classes(classes, lists[0], remedy)
    uda = cfg.MODEL.UDA
    losses = (*uda.FEATURE_LOSSES, *uda.TARGET_FEATURE_LOSSES)
    if training and lists and cfg.MODEL.COPT.CLASS_NAMES and "CoPTLoss" in losses:
        require_words_in_order(cfg.MODEL.COPT.CLASS_NAMES, lists[0])
    count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    outside = [k for k in uda.FEATURE_DISTANCE.CLASSES if k not in range(count)]
    if outside:
        raise InputError(
            f"MODEL.UDA.FEATURE_DISTANCE.CLASSES {outside} are no train ids of "
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES {count}; give some of 0..{count - 1}"
        )


def checkpoint_identity(cfg: CfgNode) -> dict[str, Any]:
    """The entries of a checkpoint that say what it is: ``format`` and, by train id, ``classes``,
    their ``colors`` (RGB), ``words`` (synonyms of each) and ``things`` (train ids).
    """
    sources = (MetadataCatalog.get(name) for name in cfg.DATASETS.TRAIN if name in MetadataCatalog)
    data = next((metadata for metadata in sources if metadata.get("stuff_classes")), None)
    if data is None:
        return {"format": FORMAT}
    names = [str(name) for name in data.stuff_classes]
    return {
        "format": FORMAT,
        "classes": names,
        "colors": [[int(part) for part in color] for color in data.get("stuff_colors", ())],
        "words": [synonyms_of(entry) for entry in cfg.MODEL.COPT.CLASS_NAMES or names],
        "things": [int(train_id) for train_id in data.get("thing_train_ids", ())],
    }


def has_known_format(state: Mapping[str, Any]) -> bool:
    """Whether this version, or an earlier one, has written a checkpoint."""
    number = state.get("format", 1)
    return isinstance(number, int) and number <= FORMAT


def check_format(path: str | Path, state: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of a later version of this project.

    Raises:
        InputError: if its format number is larger than ours.
    """
    if "model" in state and not has_known_format(state):
        raise InputError(
            f"checkpoint {path} has the format {state['format']!r}, this version of copt_d2 reads "
            f"up to {FORMAT}: use the version that wrote it, or a later one"
        )


def check_stored_classes(
    path: str | Path, state: Mapping[str, Any], cfg: CfgNode, training: bool = True
) -> None:
    """Compares the class names that a checkpoint holds with those of the config's data sets.

    Without names in it (other people's weights, and our checkpoints before format 2) the log says
    that only their number counts, and an evaluation compares its data sets with those of the
    training.

    Args:
        path: the file, for messages.
        state: what it holds.
        cfg: the whole config.
        training: whether DATASETS.TRAIN must fit, else DATASETS.TEST.
    Raises:
        InputError: naming both and the first class that differs.
    """
    used = data_set_classes(cfg, "TRAIN" if training else "TEST")
    names = state.get("classes") if "model" in state else None
    if names is not None:
        stored = ClassList(f"the checkpoint {path}", _as_names(path, names))
        remedy = "use weights of these classes, or data sets of the checkpoint's"
    else:
        logger.info("%s holds no class names: only their number is compared", path)
        count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        source = [c for c in data_set_classes(cfg, "TRAIN") if len(c.names) == count]
        if not source:
            return
        stored = source[0]
        remedy = f"let DATASETS.TRAIN name what {path} was trained on, or be empty"
    for classes in used:
        require_same_classes(classes, stored, remedy)


def _as_names(path: str | Path, names: Any) -> list[str]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InputError(f"checkpoint {path} is damaged: its class names are {names!r:.60}")
    return list(names)
