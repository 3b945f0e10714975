"""The evaluation record of a data set: plain values for a JSON file, and a table of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

Record = dict[str, Any]


def _number(value: float) -> float | None:
    """Rounded; null where a class does not occur."""
    return None if math.isnan(value) else round(float(value), 4)


def _per_class(scores: Mapping[str, float], kind: str, names: Sequence[str]) -> Record:
    return {name: _number(scores[f"{kind}-{name}"]) for name in names}


def score_fields(
    results: Mapping[str, Mapping[str, Any]] | None, class_names: Sequence[str]
) -> Record:
    """The scores of a record.

    Args:
        results: what `IoUEvaluator.evaluate` returns; ``None`` = the data set has no labels.
        class_names: name of each train id.
    Returns:
        ``labelled``, ``mIoU``, ``aAcc``, ``IoU`` and ``Acc`` by class, ``means`` by the number of
        classes and ``conditions`` by name where there are any; percent, null = not measured.
    """
    if results is None:
        nothing = dict.fromkeys(class_names)
        return {"labelled": False, "mIoU": None, "aAcc": None, "IoU": nothing, "Acc": nothing}
    scores = results["sem_seg"]
    fields = {
        "labelled": True,
        "mIoU": _number(scores["mIoU"]),
        "aAcc": _number(scores["aAcc"]),
        "IoU": _per_class(scores, "IoU", class_names),
        "Acc": _per_class(scores, "Acc", class_names),
    }
    if "means" in results:
        fields["means"] = {count: _number(mean) for count, mean in results["means"].items()}
    if "conditions" in results:
        fields["conditions"] = {
            condition: {
                "mIoU": _number(part["mIoU"]),
                "IoU": _per_class(part, "IoU", class_names),
                "images": part["images"],
            }
            for condition, part in results["conditions"].items()
        }
    return fields


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def format_table(record: Record) -> str:
    """Per-class IoU of one record as text, a column for each condition, the means last."""
    conditions = record.get("conditions", {})
    parts = [record, *conditions.values()]
    rows = [
        [
            name,
            *(_cell(part["IoU"][name]) for part in parts),
            "" if name in record["classes_in_mean"] else "no",
        ]
        for name in record["IoU"]
    ]
    count = len(record["classes_in_mean"])
    rows.append([f"mean of {count}", *(_cell(part["mIoU"]) for part in parts), ""])
    for subset, mean in record.get("means", {}).items():
        if int(subset) != count:
            rows.append([f"mean of {subset}", _cell(mean), *[""] * (len(parts) - 1), ""])
    if conditions:
        rows.append(["images", *(str(part["images"]) for part in parts), ""])
    return tabulate(
        rows,
        headers=["class", "IoU %", *conditions, "in mean"],
        colalign=("left", *["right"] * len(parts), "left"),
        disable_numparse=True,  # or it drops the zero of 50.0
    )
