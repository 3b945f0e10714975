"""Finished runs: their evaluation records, configs, and which method they are."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from ...errors import InputError

Config = dict[str, Any]  # dotted key -> value

CHECKPOINT = re.compile(r"model_(\d{7}|final)\.pth")

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
        is_other: lies in the folder, but is not the run's result: of other weights, of an earlier
            checkpoint, or evaluated in another way.
    """

    folder: Path
    record: dict[str, Any]
    config: Config
    config_file: Path
    is_other: bool = False

    @property
    def dataset(self) -> str:
        """Name of the evaluated data set."""
        return self.record["dataset"]

    @property
    def method(self) -> str:
        """See `method_of`; a teacher's is no student's."""
        part = self.weights["part"]
        return method_of(self.config) + ("" if part == "student" else f", {part}")

    @property
    def weights(self) -> dict[str, Any]:
        """Their ``path``, ``digest`` ("" in records of earlier versions) and ``part``."""
        earlier = {"path": self.record.get("checkpoint"), "digest": "", "part": "student"}
        return {**earlier, **self.record.get("weights", {})}

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
        if done is None or planned is None or done >= planned:
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
    others = sorted((folder / "evaluation" / "other").glob("*/*.json"))
    if not records and not others:
        raise InputError(
            f"{folder} holds no evaluation/*.json: evaluate the run with copt eval "
            f"OUTPUT_DIR {folder}"
        )
    config_file = _config_file(folder, CONFIG_FILES)
    config = _read_config(config_file)
    for path in records:
        record = _read_record(path)
        foreign = config_file.name == CONFIG_FILES[0] and _is_foreign(record, folder, config)
        yield Measurement(folder, record, config, config_file, is_other=foreign)
    for path in others:
        file = _config_file(path.parent, CONFIG_FILES[1:])
        yield Measurement(folder, _read_record(path), _read_config(file), file, is_other=True)


def _config_file(folder: Path, names: Sequence[str]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{folder} holds no {names[0]}, which says what the run is")
    return found


def _is_foreign(record: Mapping[str, Any], folder: Path, config: Config) -> bool:
    """Whether a record in the place of a run's own is of weights that the run did not make.

    Earlier versions put any evaluation there. A record that does not name its weights is the run's.
    """
    weights = record.get("weights", {})
    path = weights.get("path", record.get("checkpoint"))
    if weights.get("part", "student") != "student":
        return True
    if path is None:
        return False
    if not CHECKPOINT.fullmatch(Path(path).name):
        return True
    parent = Path(path).parent
    if parent.resolve() == folder.resolve():
        return False
    # the folder may have moved since; its name may have been relative to any other
    then = Path(str(config.get("OUTPUT_DIR", ""))).parts
    pairs = list(zip(reversed(then), reversed(parent.parts), strict=False))
    return not pairs or any(ours != theirs for ours, theirs in pairs)


def _read_config(path: Path) -> Config:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
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
    conditions, weights = record.get("conditions", {}), record.get("weights", {})
    if not isinstance(conditions, dict):
        return "conditions is no JSON object"
    if not isinstance(weights, dict) or not isinstance(weights.get("path"), (str, NoneType)):
        return "weights is no JSON object with a path"
    if not all(isinstance(weights.get(key, ""), str) for key in ("digest", "part")):
        return "weights has a digest or a part that is no text"
    if not isinstance(record.get("iteration"), (int, NoneType)):
        return "iteration is no number"
    for part in (record, *conditions.values()):
        if not isinstance(part, dict) or not isinstance(part.get("IoU"), dict):
            return "IoU is no JSON object"
        values = [part.get("mIoU"), *part["IoU"].values()]
        if not all(value is None or isinstance(value, (int, float)) for value in values):
            return "a score is no number"
    return ""
