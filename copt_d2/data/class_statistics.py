"""Pixels of each class in each label file: from DAFormer's JSON file, or counted and cached."""

import io
import json
import logging
from functools import partial
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from numpy import ndarray

from ..errors import InputError
from .caching import cache_file, file_state, fingerprint, store
from .layouts import DatasetDict, data_root
from .made_of import image_key, read_made_of
from .parallel import map_in_threads, on_first_process
from .reading import read_train_ids

# DAFormer's list, and the same as a dictionary; the first that is there is read
STATISTICS_FILES = ("sample_class_stats.json", "sample_class_stats_dict.json")
_THREADS = 4

logger = logging.getLogger(__name__)


def class_pixels(name: str, dataset_dicts: list[DatasetDict], stats_folder: str) -> ndarray:
    """Pixels of each train id in each image of a data set, at stored size.

    Taken from `STATISTICS_FILES` in ``stats_folder``, else in the data set's own folder, unless
    they are known to be of label files that have changed; else counted from the label files and
    cached outside the data. Of several processes the first does it and tells the others.

    Args:
        name: the data set.
        dataset_dicts: its M images.
        stats_folder: DATALOADER.RARE_CLASS.STATS; "" = no such folder.
    Returns:
        (M, K) int64.
    Raises:
        InputError: on every process, if the images have no labels, or the file is of other images.
    """
    return on_first_process(partial(class_pixels_here, name, dataset_dicts, stats_folder))


def class_pixels_here(name: str, dataset_dicts: list[DatasetDict], stats_folder: str) -> ndarray:
    """`class_pixels` in this process alone."""
    metadata = MetadataCatalog.get(name)
    label_files = [entry.get("sem_seg_file_name") for entry in dataset_dicts]
    if None in label_files:
        raise InputError(f"DATASETS.TRAIN names '{name}', which has no labels; a source needs them")
    stats_file = _find_stats_file(stats_folder, metadata.get("folder"))
    num_classes = len(metadata.stuff_classes)
    table = np.array(metadata.label_table, np.uint8)
    if stats_file is not None and _is_current(stats_file, label_files, table):
        return read_statistics(stats_file, label_files, num_classes)
    return _cached_count(name, label_files, table, num_classes)


def _is_current(stats_file: Path, label_files: list[str], table: ndarray) -> bool:
    # says what it finds; of files that say nothing of their labels only the times can be compared
    made_of = read_made_of(stats_file)
    if made_of is not None:
        changed = made_of.changed_label(label_files, table)
        if changed is not None:
            logger.warning(
                "%s does not count: %s, or the table of its values, has changed since it was made; "
                "the classes are counted anew (or prepare the data set again)",
                *(stats_file, changed),
            )
        return changed is None
    made = stats_file.stat().st_mtime_ns
    newer = next((f for f in label_files if file_state(f, "label file")[1] > made), None)
    if newer is not None:
        logger.warning(
            "%s is older than %s: if labels have changed since, remove it to count them anew",
            *(stats_file, newer),
        )
    return True


def _find_stats_file(stats_folder: str, dataset_folder: str | None) -> Path | None:
    if stats_folder:
        folder = Path(stats_folder).expanduser()
    elif dataset_folder is not None:
        folder = data_root() / dataset_folder
    else:
        return None
    found = statistics_in(folder)
    if stats_folder and found is None:
        raise InputError(
            f"DATALOADER.RARE_CLASS.STATS: folder {folder} holds no {' or '.join(STATISTICS_FILES)}"
            "; give the folder of such a file, or '' to count the label files"
        )
    return found


def statistics_in(folder: Path) -> Path | None:
    """The first of `STATISTICS_FILES` that is in a folder."""
    return next((folder / name for name in STATISTICS_FILES if (folder / name).is_file()), None)


def read_statistics(path: Path, label_files: list[str], num_classes: int) -> ndarray:
    """Reads DAFormer's list of ``{"<train id>": pixels, ..., "file": label path}``, or its
    dictionary of ``{label path: {"<train id>": pixels}}``.

    Only the base names of the paths count, without ``_labelTrainIds``; entries that are not asked
    for are skipped.

    Args:
        path: the JSON file.
        label_files: M label files.
        num_classes: K.
    Returns:
        (M, K) int64.
    Raises:
        InputError: if the file is neither, or lacks one of the label files.
    """
    try:
        listed = json.loads(path.read_text())
        if isinstance(listed, dict):
            listed = [{**counts, "file": file} for file, counts in listed.items()]
        entries = {image_key(entry["file"]): entry for entry in listed}
        if len(entries) != len(listed):
            raise ValueError("two entries with one base name")
        missing = next((file for file in label_files if image_key(file) not in entries), None)
        if missing is None:
            return np.array([_row(entries[image_key(f)], num_classes) for f in label_files])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} holds no class statistics ({error!r}): make it again, or remove it"
        ) from None
    raise InputError(
        f"{path} has no entry for {missing}: these are another data set's statistics; "
        "remove the file to count anew, or correct DATALOADER.RARE_CLASS.STATS"
    )


def _row(entry: dict[str, int | str], num_classes: int) -> ndarray:
    row = np.zeros(num_classes, dtype=np.int64)
    for key, pixels in entry.items():
        if key == "file":
            continue
        if not 0 <= int(key) < num_classes:
            raise ValueError(f"class {key} of {num_classes}")
        row[int(key)] = int(pixels)
    return row


def _cached_count(name: str, label_files: list[str], table: ndarray, num_classes: int) -> ndarray:
    digest = fingerprint(label_files, "label file", table.tobytes())
    path = cache_file("rare_class", name, digest, ".npy")
    if path.is_file():
        try:
            cached = np.load(path, allow_pickle=False)
            if cached.shape == (len(label_files), num_classes):
                return cached
        except (OSError, ValueError, EOFError):
            logger.warning("class statistics %s are damaged and counted anew", path)
    pixels = count_pixels(name, label_files, table, num_classes)
    content = io.BytesIO()
    np.save(content, pixels)
    store(path, content.getvalue())
    return pixels


def count_pixels(name: str, label_files: list[str], table: ndarray, num_classes: int) -> ndarray:
    """Counts the pixels of each train id in M label files, with a progress bar.

    Args:
        name: the data set, for the progress bar.
        label_files: M label files.
        table: (256,) uint8, stored value -> train id.
        num_classes: K.
    Returns:
        (M, K) int64.
    Raises:
        InputError: if a label file is missing or damaged.
    """

    def count(label_file: str) -> ndarray:
        train_ids = read_train_ids(label_file, table)
        return np.bincount(train_ids.ravel(), minlength=256)[:num_classes]

    rows = map_in_threads(count, label_files, _THREADS, f"counting classes of {name}")
    return np.stack(rows).astype(np.int64)
