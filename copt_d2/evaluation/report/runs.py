"""Finished runs: their evaluation records, configs, and which method they are."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...errors import InputError

Config = dict[str, Any]  # dotted key -> value

# the config of a training, and of an --eval-only where there was no training
CONFIG_FILES = ("config.yaml", "config_of_evaluation.yaml")
# runs that differ only in these are repetitions of each other
REPETITION_KEYS = (
    *("SEED", "OUTPUT_DIR", "VERSION", "MODEL.DEVICE", "MODEL.COPT.TEXT_BANK"),
    *("DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.LOG_PERIOD"),
    *("SOLVER.IMAGE_PERIOD", "TEST.EVAL_PERIOD", "TEST.EXPORT", "TEST.PICTURES"),
    *("TEST.EXPECTED_RESULTS", "MODEL.COPT.ENCODER_WEIGHTS", "MODEL.COPT.ENCODER_DEVICE"),
)


@dataclass(frozen=True)
class Measurement:
    """One evaluation record of one run.

    Attributes:
        folder: of the run.
        record: the evaluation record.
        config: the run's config.
        config_file: where it stands.
    """

    folder: Path
    record: dict[str, Any]
    config: Config
    config_file: Path

    @property
    def dataset(self) -> str:
        """Name of the evaluated data set."""
        return self.record["dataset"]

    @property
    def method(self) -> str:
        """See `method_of`."""
        return method_of(self.config)

    @property
    def is_scored(self) -> bool:
        """Whether the data set had labels."""
        return self.record.get("labelled", True)

    @property
    def is_generated(self) -> bool:
        """Whether generated scenes stand for the data sets."""
        return self.record.get("generated_scenes", False)

    @property
    def unfinished(self) -> str:
        """ "iteration 4000 of 40000" of an evaluation during the training, else ""."""
        done, planned = self.record.get("iteration"), self.config.get("SOLVER.MAX_ITER")
        if done is None or planned is None or done >= planned - 1:
            return ""
        return f"iteration {done} of {planned}"

    def repetition_key(self) -> str:
        """Equal for runs that differ in nothing but the seed."""
        kept = {key: value for key, value in self.config.items() if key not in REPETITION_KEYS}
        parts = [self.dataset, self.record.get("classes_in_mean"), self.unfinished, kept]
        return json.dumps(parts, sort_keys=True, default=str)


def method_of(config: Config) -> str:
    """The method that a config describes, as in the papers; an encoder that is not MiT-B5 is named.

    DAFormer and MIC (DAFormer) see one resolution, HRDA and MIC (HRDA) two; CoPT is MIC (HRDA) with
    the loss of CoPT.
    """
    phases = set(config.get("MODEL.UDA.PHASES") or ["source"])
    losses = set(config.get("MODEL.UDA.FEATURE_LOSSES") or [])
    of_target = set(config.get("MODEL.UDA.TARGET_FEATURE_LOSSES") or [])
    host = "HRDA" if config.get("MODEL.HRDA.ENABLED") else "DAFormer"
    with_copt = "CoPTLoss" in losses | of_target
    if phases == {"source"} and not with_copt:
        name = "source-only" if host == "DAFormer" else "source-only (HRDA)"
    elif phases == {"source", "mixed"}:
        name = f"{host}+CoPT" if with_copt else host
    elif phases == {"source", "mixed", "masked"}:
        name = f"MIC ({host})" if not with_copt else "CoPT" if host == "HRDA" else f"CoPT ({host})"
    else:
        name = f"phases {', '.join(sorted(phases))} of {host}{'+CoPT' if with_copt else ''}"
    if phases != {"source"} and "FeatureDistanceLoss" not in losses:
        name += " without feature distance"
    encoder = _encoder_of(config)
    return name if encoder == "MiT-B5" else f"{name}, {encoder}"


def _encoder_of(config: Config) -> str:
    backbone = config.get("MODEL.BACKBONE.NAME", "build_mit_backbone")
    if backbone == "build_mit_backbone":
        return f"MiT-{str(config.get('MODEL.MIT.VARIANT', 'b5')).upper()}"
    return config.get("MODEL.TIMM.NAME", backbone) if "timm" in backbone else backbone


def read_runs(folders: Sequence[Path]) -> list[Measurement]:
    """All evaluation records of some runs, in the order of the folders; a folder counts once.

    Raises:
        InputError: for a folder without records or config, or a damaged file.
    """
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.resolve(), folder)
    return [found for folder in unique.values() for found in _read_run(folder)]


def _read_run(folder: Path) -> Iterator[Measurement]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name the OUTPUT_DIR of a run")
    records = sorted((folder / "evaluation").glob("*.json"))
    if not records:
        raise InputError(
            f"{folder} holds no evaluation/*.json: evaluate the run with tools/train_net.py "
            f"--eval-only OUTPUT_DIR {folder}"
        )
    config_file = next((folder / n for n in CONFIG_FILES if (folder / n).is_file()), None)
    if config_file is None:
        raise InputError(f"{folder} holds no config.yaml, which says what the run is")
    config = _read_config(config_file)
    for path in records:
        yield Measurement(folder, _read_record(path), config, config_file)


def _read_config(path: Path) -> Config:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged ({reason}): run the evaluation again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (no config keys): run the evaluation again")
    return dict(_dotted(content))


def _dotted(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}): evaluate the run again") from error
    problem = _problem_of(record)
    if problem:
        raise InputError(f"{path} is no evaluation record ({problem}): evaluate the run again")
    return record


def _problem_of(record: Any) -> str:
    """What a record lacks, "" = nothing."""
    if not isinstance(record, dict):
        return "it is no JSON object"
    missing = [key for key in ("dataset", "mIoU", "IoU") if key not in record]
    if missing:
        return f"without {', '.join(missing)}"
    conditions = record.get("conditions", {})
    if not isinstance(conditions, dict):
        return "conditions is no JSON object"
    for part in (record, *conditions.values()):
        if not isinstance(part, dict) or not isinstance(part.get("IoU"), dict):
            return "IoU is no JSON object"
        values = [part.get("mIoU"), *part["IoU"].values()]
        if not all(value is None or isinstance(value, (int, float)) for value in values):
            return "a score is no number"
    return ""
