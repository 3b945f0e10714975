"""Which config keys have an effect, and what to set instead of one that has none.

detectron2's config has many keys that nothing reads here. Those that a run does read stand in
``keys_read.json``, which ``tests/integration/record_keys.py`` records from runs.
"""

import difflib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY

from ..config import add_copt_config
from ..errors import InputError
from ..modeling.losses import LOSS_REGISTRY
from .config_values import shown, value_of

# keys that name registered parts, which read keys of their own
PARTS = {
    "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
    "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
    "MODEL.SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY,
    "MODEL.UDA.FEATURE_LOSSES": LOSS_REGISTRY,
    "MODEL.UDA.TARGET_FEATURE_LOSSES": LOSS_REGISTRY,
}
# key, or beginning of keys, without effect -> the one that does here what its name promises
INSTEAD = {
    "DATALOADER.REPEAT": "DATALOADER.RARE_CLASS.TEMPERATURE",
    "DATALOADER.SAMPLER_TRAIN": "DATALOADER.RARE_CLASS.ENABLED",
    "DATASETS.PROPOSAL": "DATASETS.TRAIN",
    "INPUT.FORMAT": "MODEL.PIXEL_MEAN",
    "INPUT.MAX_SIZE_TEST": "INPUT.TEST_RESIZE",
    "INPUT.MAX_SIZE_TRAIN": "INPUT.SOURCE_RESIZE",
    "INPUT.MIN_SIZE_TEST": "INPUT.TEST_RESIZE",
    "INPUT.MIN_SIZE_TRAIN": "INPUT.SOURCE_RESIZE",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "INPUT.SCALE_RANGE",
    "MODEL.FPN": "MODEL.SEM_SEG_HEAD.IN_FEATURES",
    "MODEL.RESNETS": "MODEL.TIMM.NAME",
    "MODEL.RESNETS.NORM": "MODEL.TIMM.FREEZE_NORM",
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": "MODEL.SEM_SEG_HEAD.IN_FEATURES",
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": "MODEL.HRDA.DETAIL_LOSS_WEIGHT",
    "MODEL.SEM_SEG_HEAD.NORM": "MODEL.TIMM.FREEZE_NORM",
    "SOLVER.BASE_LR_END": "SOLVER.POLY_POWER",
    "SOLVER.BIAS_LR_FACTOR": "SOLVER.HEAD_LR_MULTIPLIER",
    "SOLVER.CLIP_GRADIENTS": "SOLVER.BASE_LR",
    "SOLVER.GAMMA": "SOLVER.POLY_POWER",
    "SOLVER.LR_SCHEDULER_NAME": "SOLVER.POLY_POWER",
    "SOLVER.MOMENTUM": "SOLVER.BASE_LR",
    "SOLVER.NESTEROV": "SOLVER.BASE_LR",
    "SOLVER.NUM_DECAYS": "SOLVER.POLY_POWER",
    "SOLVER.REFERENCE_WORLD_SIZE": "SOLVER.IMS_PER_BATCH",
    "SOLVER.RESCALE_INTERVAL": "SOLVER.POLY_POWER",
    "SOLVER.STEPS": "SOLVER.POLY_POWER",
    "SOLVER.WARMUP_METHOD": "SOLVER.WARMUP_FACTOR",
    "SOLVER.WEIGHT_DECAY_BIAS": "SOLVER.WEIGHT_DECAY",
    "TEST.AUG": "TEST.WINDOW",
    "VIS_PERIOD": "SOLVER.IMAGE_PERIOD",
}


def dotted_values(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all that is no table itself."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from dotted_values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@functools.cache
def keys_read() -> dict[str, Any]:
    """The recorded keys: "everywhere" and, key by key of "parts" and name by name, those that only
    runs with that part read.
    """
    return json.loads(files(__package__).joinpath("keys_read.json").read_text())


@functools.cache
def defaults() -> dict[str, Any]:
    """Every key of detectron2 and of this project with its default."""
    cfg = get_cfg()
    add_copt_config(cfg)
    return dict(dotted_values(cfg))


@functools.cache
def detectron2_keys() -> frozenset[str]:
    """Every key that detectron2 has."""
    return frozenset(key for key, _ in dotted_values(get_cfg()))


def _keys_of_part(key: str, name: str) -> Iterable[str]:
    """What a part reads beyond the keys of all runs: as recorded, or as it says in ``config_keys``;
    any of MODEL if it comes from elsewhere and says nothing.
    """
    recorded = keys_read()["parts"].get(key.replace("TARGET_", ""), {})
    if name in recorded:
        return recorded[name]
    part = PARTS[key].get(name) if name in PARTS[key] else None
    declared = getattr(part, "config_keys", None)
    if declared is not None:
        return declared
    return [other for other in detectron2_keys() if other.startswith("MODEL.")]


def keys_with_effect(cfg: CfgNode) -> set[str]:
    """The keys that do something in a run of ``cfg``: those of detectron2 that it reads, and all
    of this project.
    """
    found = set(keys_read()["everywhere"]) | (set(defaults()) - detectron2_keys())
    for key in PARTS:
        names = value_of(cfg, key)
        for name in [names] if isinstance(names, str) else names or ():
            found.update(_keys_of_part(key, str(name)))
    return found


def keys_without_effect() -> tuple[str, ...]:
    """detectron2's keys that no run with this project's parts reads: setting one is refused."""
    parts = keys_read()["parts"].values()
    by_part = {key for names in parts for keys in names.values() for key in keys}
    return tuple(sorted(detectron2_keys() - by_part - set(keys_read()["everywhere"])))


def _readers(key: str) -> str:
    """Parts, other than those of the config, that do read a key; "" = none."""
    for part, names in keys_read()["parts"].items():
        for name, keys in names.items():
            if key in keys:
                return f" without {part} {name}"
    return ""


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Of ``known`` keys the one that does what ``key`` promises, or else is spelled most like
    it.
    """
    known = sorted(known)
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        instead = INSTEAD.get(".".join(parts[:end]))
        if instead in known:
            return instead
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=0.0)), "")


def _plain(value: Any) -> Any:
    """The same with lists for tuples, which a config takes for each other."""
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def check_keys(cfg: CfgNode) -> None:
    """Refuses a key of detectron2's that has another value than its default and no effect.

    Parts that are registered elsewhere may read further keys: see CONTRIBUTING.md.

    Raises:
        InputError: naming the first such key, its value, and the nearest key that works.
    """
    working = keys_with_effect(cfg)
    for key, value in dotted_values(cfg):
        if key in working or key not in detectron2_keys():
            continue
        if _plain(value) != _plain(defaults()[key]):
            raise InputError(
                f"{key} is {shown(value)}, but it has no effect here{_readers(key)}: remove it; "
                f"the nearest key that works is {nearest_key(key, working)}"
            )
