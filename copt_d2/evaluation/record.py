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
        ``means_cover``: how many classes of each of ``means`` occur.
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
        fields["means_cover"] = dict(results["means_cover"])
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


def with_left_out(record: Record) -> Record:
    """The record, with the classes that its mean and those of its conditions do not cover.

    A mean covers those of ``classes_in_mean`` that are labelled or predicted on a labelled pixel.

    Args:
        record: has ``labelled``, ``IoU`` and ``classes_in_mean``.
    Returns:
        the same with ``classes_left_out``, names; [] where there is no mean. Its conditions, too.
    """
    in_mean = set(record["classes_in_mean"])

    def left_out(iou: Mapping[str, float | None]) -> list[str]:
        if not record["labelled"]:
            return []
        return [name for name, value in iou.items() if name not in in_mean or value is None]

    conditions = {
        name: {**part, "classes_left_out": left_out(part["IoU"])}
        for name, part in record.get("conditions", {}).items()
    }
    record = {**record, "classes_left_out": left_out(record["IoU"])}
    return {**record, "conditions": conditions} if conditions else record


def mean_in_words(record: Record) -> str:
    """The mean of a labelled record, how many classes it covers, and which it leaves out, and why:
    one line.
    """
    count, left = len(record["IoU"]), record["classes_left_out"]
    line = f"mIoU {_cell(record['mIoU'])}, the mean of {count - len(left)} of {count} classes"
    chosen = [name for name in left if name not in record["classes_in_mean"]]
    absent = [name for name in left if name in record["classes_in_mean"]]
    parts = [f"not in the mean: {', '.join(chosen)}"] if chosen else []
    parts += [f"without a pixel: {', '.join(absent)}"] if absent else []
    return f"{line} (left out, {'; '.join(parts)})" if parts else line


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def format_table(record: Record) -> str:
    """Per-class IoU of one record as text, a column for each condition, the means last.

    A mean says how many classes it covers; where conditions cover other numbers, a row has them.
    """
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
    covered = [len(part["IoU"]) - len(part["classes_left_out"]) for part in parts]
    rows.append([f"mean of {covered[0]}", *(_cell(part["mIoU"]) for part in parts), ""])
    if len(set(covered)) > 1:
        rows.append(["classes in it", *map(str, covered), ""])
    for subset, mean in record.get("means", {}).items():
        if int(subset) != len(record["classes_in_mean"]):
            found = record.get("means_cover", {}).get(subset, int(subset))
            label = f"mean of {subset}" if found == int(subset) else f"mean of {found} of {subset}"
            rows.append([label, _cell(mean), *[""] * (len(parts) - 1), ""])
    if conditions:
        rows.append(["images", *(str(part["images"]) for part in parts), ""])
    return tabulate(
        rows,
        headers=["class", "IoU %", *conditions, "in mean"],
        colalign=("left", *["right"] * len(parts), "left"),
        disable_numparse=True,  # or it drops the zero of 50.0
    )
