"""Train-id maps and class statistics of a source data set, as files of the DAFormer family."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray

from ..errors import InputError
from ..files import replace_bytes
from .caching import file_state
from .class_statistics import STATISTICS_FILES
from .datasets import SPLITS, Split
from .label_spaces import train_id_table
from .layouts import DatasetDict, Layout, list_files
from .made_of import is_map_current, map_text, with_text, write_made_of
from .parallel import map_in_threads
from .reading import image_size, read_train_ids, require_equal_sizes

CLASSES_FILE = "samples_with_class.json"
# data set -> its splits
DATASET_SPLITS = {
    "gta": ("gta_sem_seg_train",),
    "synthia": ("synthia_sem_seg_train",),
    "cityscapes": tuple(f"cityscapes_fine_sem_seg_{split}" for split in ("train", "val", "test")),
    "dark_zurich": (
        *("dark_zurich_sem_seg_train", "dark_zurich_twilight_sem_seg_train"),
        *("dark_zurich_day_sem_seg_train", "dark_zurich_sem_seg_val", "dark_zurich_sem_seg_test"),
    ),
    "acdc": tuple(f"acdc_sem_seg_{split}" for split in ("train", "val", "test")),
    "camvid": (
        *("camvid_day_train", "camvid_day_val", "camvid_dusk_train", "camvid_dusk_val"),
        "camvid_dusk_test",
    ),
}
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 6)  # half the size of the default, nearly as fast


def source_split(dataset: str) -> str | None:
    """The split of a data set that is prepared, ``None`` for those that are targets only."""
    return next((name for name in DATASET_SPLITS[dataset] if SPLITS[name].prepared), None)


def layout_in(own_folder: Path, layout: Layout) -> tuple[Layout, Path]:
    """A layout whose data set lies in ``own_folder``, whatever its name, and the folder above."""
    if own_folder.name in ("", ".."):
        own_folder = own_folder.resolve()
    return layout.in_folder(own_folder.name), own_folder.parent


def train_id_file(label_file: str) -> str:
    """Name of the train-id map beside a label file: ``*_labelTrainIds.png``."""
    return label_file.removesuffix(".png").removesuffix("_labelIds") + "_labelTrainIds.png"


def prepare_source(split: Split, own_folder: Path, jobs: int) -> tuple[int, int]:
    """Writes the train-id map of each label file, then the three files of class statistics.

    Maps that are there are kept, so that a stopped run goes on where it was, unless their label
    file has changed since. Pixels are counted at stored size.

    Args:
        split: a labelled split.
        own_folder: of its data set; the statistics go there.
        jobs: threads.
    Returns:
        number of images, and of maps written now.
    Raises:
        InputError: if files are missing, damaged, differ in size or hold unknown label ids.
        OSError: if something cannot be written.
    """
    entries = list_files(*layout_in(own_folder, split.layout))
    table = np.array(split.label_space.table, np.uint8)
    work = partial(_prepare_image, table=table, num_classes=len(split.label_space.classes))
    done = map_in_threads(work, entries, jobs, "writing train-id maps")
    labels = [entry["sem_seg_file_name"] for entry in entries]
    write_statistics(
        own_folder, [train_id_file(f) for f in labels], [image.pixels for image in done]
    )
    states = {file: image.state for file, image in zip(labels, done, strict=True)}
    write_made_of([own_folder / name for name in STATISTICS_FILES], states, table)
    return len(entries), sum(image.written for image in done)


@dataclass(frozen=True)
class _Prepared:
    # pixels of each class, state of the label file, and whether the map was written
    pixels: ndarray
    state: tuple[int, int]
    written: bool


def _prepare_image(entry: DatasetDict, table: ndarray, num_classes: int) -> _Prepared:
    image, label = entry["file_name"], entry["sem_seg_file_name"]
    state = file_state(label, "label file")
    size = image_size(image)
    require_equal_sizes(image, size, label, image_size(label, "label file"))
    path = Path(train_id_file(label))
    is_current = is_map_current(path, state, table)
    train_ids = read_train_id_map(path, num_classes) if is_current else None
    written = train_ids is None or train_ids.shape != size
    if written:
        train_ids = read_train_ids(label, table)
        replace_bytes(path, with_text(_encode(train_ids), map_text(state, table)))
    pixels = np.bincount(train_ids.ravel(), minlength=256)[:num_classes]
    return _Prepared(pixels, state, written)


def read_train_id_map(path: Path, num_classes: int) -> ndarray | None:
    """A train-id map, (H, W) uint8, or ``None`` if it is damaged."""
    try:
        return read_train_ids(path, np.array(train_id_table(num_classes), np.uint8))
    except InputError:
        return None


def write_statistics(folder: Path, map_files: list[str], pixels: list[ndarray]) -> None:
    """Writes DAFormer's three files; classes without a pixel in an image are left out of it.

    Args:
        folder: where they go.
        map_files: M train-id maps.
        pixels: M times (K,) integers, pixels of each train id.
    Raises:
        OSError: if they cannot be written; earlier files stay whole.
    """
    counts = [{str(c): int(n) for c, n in enumerate(row) if n} for row in pixels]
    by_file = dict(zip(map_files, counts, strict=True))
    by_class: dict[str, list[tuple[str, int]]] = {}
    for c in map(str, range(len(pixels[0]))):
        found = [(file, count[c]) for file, count in by_file.items() if c in count]
        by_class |= {c: found} if found else {}
    list_file, dictionary_file = STATISTICS_FILES
    contents = {
        list_file: [{**count, "file": file} for file, count in by_file.items()],
        dictionary_file: by_file,
        CLASSES_FILE: by_class,
    }
    for name, content in contents.items():
        replace_bytes(folder / name, json.dumps(content).encode())


def _encode(train_ids: ndarray) -> bytes:
    done, content = cv2.imencode(".png", train_ids, _PNG_OPTIONS)
    assert done
    return content.tobytes()
