"""Numbers of repeated runs, as they stand in a cell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .runs import Config, Measurement

NOT_MEASURED = "-"


@dataclass(frozen=True)
class Repetitions:
    """Measurements that differ in nothing but the seed."""

    measurements: Sequence[Measurement]

    @property
    def method(self) -> str:
        """The method of all of them."""
        return self.measurements[0].method

    @property
    def config(self) -> Config:
        """The config, up to the seed."""
        return self.measurements[0].config

    @property
    def names(self) -> str:
        """The runs' folders and how many there are, if several."""
        names = ", ".join(m.folder.resolve().name for m in self.measurements)
        count = len(self.measurements)
        return names if count == 1 else f"{count} runs: {names}"

    def values(self, column: str, classes: Sequence[str]) -> list[float]:
        """What each run has in a column, percent; [] where one of them has nothing.

        Args:
            column: class name, condition, or "mIoU" or "all" for the mean.
            classes: of the mean; [] = all.
        """
        found = [value_of(m.record, column, classes) for m in self.measurements]
        return [] if None in found else found

    def mean(self, column: str, classes: Sequence[str]) -> float | None:
        """Mean of `values`."""
        values = self.values(column, classes)
        return float(np.mean(values)) if values else None


def group_repetitions(measurements: Iterable[Measurement]) -> list[Repetitions]:
    """Groups in the order of their first run."""
    groups: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault(measurement.repetition_key(), []).append(measurement)
    return [Repetitions(group) for group in groups.values()]


def value_of(record: Mapping[str, Any], column: str, classes: Sequence[str]) -> float | None:
    """One number of a record, as in `Repetitions.values`; ``None`` = not measured."""
    if column in ("mIoU", "all"):
        return _mean_iou(record, classes or list(record["IoU"]))
    if column in record["IoU"]:
        return record["IoU"][column]
    part = record.get("conditions", {}).get(column)
    if part is None:
        return None
    names = {"classes_in_mean": record.get("classes_in_mean")}
    return _mean_iou({**part, **names}, classes or list(part["IoU"]))


def _mean_iou(scores: Mapping[str, Any], classes: Sequence[str]) -> float | None:
    stated = scores.get("means", {}).get(str(len(classes)))
    if stated is not None:
        return stated
    named = scores.get("classes_in_mean")
    if named is None or set(named) == set(classes):
        return scores["mIoU"]
    values = [scores["IoU"][name] for name in classes if name in scores["IoU"]]
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present and len(values) == len(classes) else None


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean ± half the range; a single run has no spread."""
    if not values:
        return NOT_MEASURED
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def difference(ours: float | None, printed: float | None) -> str:
    """In points, with its sign."""
    if ours is None or printed is None:
        return NOT_MEASURED
    return f"{round(ours - printed, 1) + 0.0:+.1f}"  # + 0.0: no "-0.0"
