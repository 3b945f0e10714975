"""Where the files of an evaluation go: a run keeps its own record, whatever is evaluated there."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from ..files import move_to_previous
from .checkpointing import TrainingCheckpointer
from .config_keys import dotted_values

logger = logging.getLogger("copt_d2.evaluate")

CONFIG = "config_of_evaluation.yaml"
FINAL = "model_final.pth"
# keys that decide what a network makes of an image, and which classes are in the mean
SETTINGS = (
    *("INPUT.TEST_RESIZE", "INPUT.BIT_DEPTH", "TEST.WINDOW", "TEST.STRIDE", "TEST.CLASSES"),
    *("MODEL.META_ARCHITECTURE", "MODEL.PIXEL_", "MODEL.BACKBONE.", "MODEL.TIMM.", "MODEL.MIT."),
    *("MODEL.HRDA.", "MODEL.SEM_SEG_HEAD."),
)
# among them, those that count in training only, the size of a batch, and what is found in the data
WITHOUT_EFFECT = (
    "INPUT.BIT_DEPTHS",
    *("MODEL.BACKBONE.FREEZE_AT", "MODEL.TIMM.WEIGHTS", "MODEL.TIMM.DROP_PATH_RATE"),
    *("MODEL.TIMM.FREEZE_NORM", "MODEL.MIT.WEIGHTS", "MODEL.MIT.DROP_PATH_RATE"),
    *("MODEL.HRDA.WINDOW_BATCH", "MODEL.HRDA.DETAIL_LOSS_WEIGHT", "MODEL.SEM_SEG_HEAD.DROPOUT"),
)


@dataclass(frozen=True)
class EvaluatedWeights:
    """What a record says of the weights.

    Attributes:
        path: file that holds them; ``None`` = they were never written.
        digest: see :func:`copt_d2.checkpoint.tensors_digest`.
        part: "student" or "teacher".
        iteration: steps after which a training has written them; ``None`` = not known.
    """

    path: str | None
    digest: str
    part: str = "student"
    iteration: int | None = None

    def fields(self) -> dict[str, Any]:
        """As they stand in the record."""
        return {"path": self.path, "digest": self.digest, "part": self.part}


@dataclass(frozen=True)
class Place:
    """Folders of an evaluation.

    Attributes:
        records: of <data set>.json and <data set>.png.
        export: of the prediction files, in a folder for each data set.
        config: file that gets the config of an evaluation.
    """

    records: Path
    export: Path
    config: Path


def own_place(folder: Path) -> Place:
    """That of a run's own evaluations."""
    return Place(folder / "evaluation", folder / "export", folder / CONFIG)


def choose_place(cfg: CfgNode, weights: EvaluatedWeights) -> Place:
    """Where an ``--eval-only`` writes; says so where that is not OUTPUT_DIR's usual place.

    In the folder of a training, OUTPUT_DIR/evaluation belongs to its newest checkpoint, evaluated
    as the training does it; anything else goes to OUTPUT_DIR/evaluation/other/<weights>. A folder
    without a training holds the evaluations of the same weights; earlier ones move to
    OUTPUT_DIR/previous_<n>. To be called by rank 0 alone.

    Args:
        cfg: the config of the evaluation.
        weights: what is evaluated.
    """
    folder = Path(cfg.OUTPUT_DIR)
    own = own_place(folder)
    trained = folder / "config.yaml"
    if trained.is_file() or TrainingCheckpointer(cfg.OUTPUT_DIR).files():
        changed = _changed_settings(trained, cfg)
        reason = _why_foreign(cfg, weights) or (f"{changed[0]} is not the run's" if changed else "")
        if not reason:
            return own
        other = _other_place(own, weights, _settings(cfg) if changed else None)
        logger.info("%s: the run's own record stays, this one goes to %s", reason, other.records)
        return other
    records = [_read(path) for path in own.records.glob("*.json")]
    if records and (
        _changed_settings(own.config, cfg) or not all(_is_of(record, weights) for record in records)
    ):
        left = [own.records, own.export, own.config]
        moved = move_to_previous(folder, [path for path in left if path.exists()])
        logger.info("%s held the evaluation of other weights; moved to %s", folder, moved)
    return own


def _why_foreign(cfg: CfgNode, weights: EvaluatedWeights) -> str:
    """Why these weights are not the run's result, "" = they are."""
    folder = Path(cfg.OUTPUT_DIR)
    if weights.part != "student":
        return f"the {weights.part} is no result of the run in {folder}"
    records = [folder / "evaluation" / f"{name}.json" for name in cfg.DATASETS.TEST]
    records = [_read(record) for record in records if record.is_file()]
    are_same = [_is_of(record, weights) for record in records]
    files = TrainingCheckpointer(cfg.OUTPUT_DIR).files() or [folder / FINAL]
    path = Path(weights.path or "")
    if path.name == FINAL and files[0].name != FINAL:  # a second name of the last checkpoint
        path = path.with_name(f"model_{weights.iteration or 0:07d}.pth")
    is_inside = path.resolve() in [file.resolve() for file in files]
    if is_inside and records and all(are_same):
        return ""
    if path.resolve() != files[0].resolve():
        return f"{weights.path} is not the newest checkpoint of the run in {folder}"
    steps = weights.iteration or 0
    for record, is_same in zip(records, are_same, strict=True):
        done = record.get("iteration")
        done = done if isinstance(done, int) else 0
        # a record of an earlier version does not know its weights
        if steps < done or (steps == done and "weights" in record and not is_same):
            return f"{weights.path} is not what the run has evaluated after step {done}"
    return ""


def _is_of(record: dict[str, Any], weights: EvaluatedWeights) -> bool:
    """Whether it is a record of these weights."""
    known = record.get("weights", {})
    return (known.get("digest"), known.get("part")) == (weights.digest, weights.part)


def _other_place(
    own: Place, weights: EvaluatedWeights, settings: dict[str, Any] | None = None
) -> Place:
    """A folder that only the same weights, evaluated in the same way, have."""
    digest = weights.digest.rpartition(":")[2][:8]
    parts = [Path(weights.path or "weights").stem[:80], weights.part, digest]
    if settings is not None:
        text = json.dumps(settings, sort_keys=True, default=str)
        parts.append(hashlib.sha256(text.encode()).hexdigest()[:8])
    folder = own.records / "other" / "_".join(parts)
    return Place(folder, folder / "export", folder / CONFIG)


def _settings(cfg: CfgNode) -> dict[str, Any]:
    """Keys of SETTINGS and their values, as YAML has them."""
    return {
        key: value
        for key, value in dotted_values(yaml.safe_load(cfg.dump()))
        if key.startswith(SETTINGS) and key not in WITHOUT_EFFECT
    }


def _changed_settings(file: Path, cfg: CfgNode) -> list[str]:
    """Which of them differ from those of a config file; [] without a readable one."""
    try:
        earlier = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []
    before = dict(dotted_values(earlier)) if isinstance(earlier, dict) else {}
    now = _settings(cfg)
    return [key for key, value in now.items() if key in before and before[key] != value]


def _read(path: Path) -> dict[str, Any]:
    """An evaluation record; a damaged one is as good as none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return {}
    if not isinstance(record, dict) or not isinstance(record.get("weights", {}), dict):
        return {}
    return record
