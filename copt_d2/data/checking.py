"""Whether the files of a data set on disk are complete and fit together. Writes nothing."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy import ndarray

from ..errors import InputError
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
    work = partial(_check_image, table=table, num_classes=len(split.label_space.classes))
    maps = map_in_threads(work, entries, jobs, f"checking {name}")
    images = Counter(entry.get("condition") for entry in entries)
    return SplitReport(name, dict(images), split.layout.labels is not None, sum(maps))


def _check_image(entry: DatasetDict, table: ndarray, num_classes: int) -> bool:
    # whether there is a train-id map
    label = entry.get("sem_seg_file_name")
    if label is None:
        read_image(entry["file_name"])
        return False
    _, train_ids = read_pair(entry["file_name"], label, table)
    path = Path(train_id_file(label))
    if not path.is_file():
        return False
    stored = read_train_id_map(path, num_classes)
    if stored is None or not np.array_equal(stored, train_ids):
        raise InputError(
            f"train-id map {path} does not show the classes of {label}: remove it and prepare the "
            "data set again"
        )
    return True
