"""Whether the files of a data set on disk are complete and fit together. Writes nothing."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy import ndarray

from ..errors import InputError
from .class_statistics import read_statistics, statistics_in
from .datasets import SPLITS, Split
from .layouts import DatasetDict, is_absent, list_files
from .parallel import map_in_threads
from .prepare import DATASET_SPLITS, layout_in, read_train_id_map, train_id_file
from .reading import read_image, read_pair


@dataclass(frozen=True)
class SplitReport:
    """What was found of a split.

    Attributes:
        name: of the split.
        images: number of images of each condition, ``{None: number}`` where there is none.
        labelled: whether each image has a label file, which fits.
        maps: number of train-id maps beside the label files, which fit, too.
    """

    name: str
    images: dict[str | None, int]
    labelled: bool
    maps: int

    def describe(self) -> str:
        """One line."""
        if not self.images:
            return f"{self.name}: not there"
        total = sum(self.images.values())
        parts = ", ".join(f"{condition} {n}" for condition, n in self.images.items() if condition)
        line = f"{self.name}: {total} images{f' ({parts})' if parts else ''}"
        if not self.labelled:
            return f"{line}, no labels needed"
        line += f", {total} labels of equal size with known ids"
        return f"{line}, {self.maps} train-id maps" if self.maps else line


def check_dataset(dataset: str, own_folder: Path, jobs: int) -> list[SplitReport]:
    """Decodes every image and label file of a data set, and the train-id maps beside them.

    Args:
        dataset: a key of `DATASET_SPLITS`.
        own_folder: where it lies.
        jobs: threads.
    Returns:
        one report per split; those whose folders do not exist have no image.
    Raises:
        InputError: if no split is there, or for the first file that is missing, damaged, of
            another size than its image, or with unknown ids.
    """
    splits = {name: SPLITS[name] for name in DATASET_SPLITS[dataset]}
    places = {name: layout_in(own_folder, split.layout) for name, split in splits.items()}
    present = [name for name, place in places.items() if not is_absent(*place)]
    if not present:  # the error says what is expected
        list_files(*next(iter(places.values())))
    return [
        check_split(name, split, own_folder, jobs)
        if name in present
        else SplitReport(name, {}, False, 0)
        for name, split in splits.items()
    ]


def check_split(name: str, split: Split, own_folder: Path, jobs: int) -> SplitReport:
    """Decodes the files of one split; arguments and errors as of `check_dataset`."""
    entries = list_files(*layout_in(own_folder, split.layout))
    table = np.array(split.label_space.table, np.uint8)
    num_classes = len(split.label_space.classes)
    work = partial(_check_image, table=table, num_classes=num_classes)
    checked = map_in_threads(work, entries, jobs, f"checking {name}")
    stats_file = statistics_in(own_folder) if split.prepared else None
    if stats_file is not None:
        labels = [entry["sem_seg_file_name"] for entry in entries]
        _require_counts(stats_file, labels, np.stack([pixels for pixels, _ in checked]))
    images = Counter(entry.get("condition") for entry in entries)
    maps = sum(has_map for _, has_map in checked)
    return SplitReport(name, dict(images), split.layout.labels is not None, maps)


def _require_counts(stats_file: Path, label_files: list[str], pixels: ndarray) -> None:
    # (M, K) counted now
    read = read_statistics(stats_file, label_files, pixels.shape[1])
    wrong = np.flatnonzero((read != pixels).any(axis=1))
    if len(wrong):
        raise InputError(
            f"{stats_file} does not hold the pixels of each class in {label_files[wrong[0]]}: "
            "prepare the data set again, or remove the file"
        )


def _check_image(
    entry: DatasetDict, table: ndarray, num_classes: int
) -> tuple[ndarray | None, bool]:
    # pixels of each class, and whether there is a train-id map
    label = entry.get("sem_seg_file_name")
    if label is None:
        read_image(entry["file_name"])
        return None, False
    _, train_ids = read_pair(entry["file_name"], label, table)
    pixels = np.bincount(train_ids.ravel(), minlength=256)[:num_classes]
    path = Path(train_id_file(label))
    if not path.is_file():
        return pixels, False
    stored = read_train_id_map(path, num_classes)
    if stored is None or not np.array_equal(stored, train_ids):
        raise InputError(
            f"train-id map {path} does not show the classes of {label}: remove it and prepare the "
            "data set again"
        )
    return pixels, True
