"""Pixels of each class in each label file: from DAFormer's JSON file, or counted and cached."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from numpy import ndarray

from ..errors import InputError
from .layouts import DatasetDict, data_root
from .parallel import map_in_threads
from .reading import read_train_ids

# DAFormer's list, and the same as a dictionary; the first that is there is read
STATISTICS_FILES = ("sample_class_stats.json", "sample_class_stats_dict.json")
_CACHE_VARIABLE = "COPT_D2_CACHE"
_THREADS = 4

logger = logging.getLogger(__name__)


def class_pixels(name: str, dataset_dicts: list[DatasetDict], stats_folder: str) -> ndarray:
    """Pixels of each train id in each image of a data set, at stored size.

    Taken from `STATISTICS_FILES` in ``stats_folder``, else in the data set's own folder, else
    counted from the label files and cached outside the data. Of several processes the first does
    it and tells the others.

    Args:
        name: the data set.
        dataset_dicts: its M images.
        stats_folder: DATALOADER.RARE_CLASS.STATS; "" = no such folder.
    Returns:
        (M, K) int64.
    Raises:
        InputError: on every process, if the images have no labels, or the file is of other images.
    """
    return _on_first_process(partial(class_pixels_here, name, dataset_dicts, stats_folder))


def _on_first_process(compute: Callable[[], ndarray]) -> ndarray:
    result: ndarray | InputError | None = None
    if comm.is_main_process():
        try:
            result = compute()
        except InputError as error:  # the other processes must not wait for ever
            result = error
    result = comm.all_gather(result)[0]
    if isinstance(result, InputError):
        raise result
    return result


def class_pixels_here(name: str, dataset_dicts: list[DatasetDict], stats_folder: str) -> ndarray:
    """`class_pixels` in this process alone."""
    metadata = MetadataCatalog.get(name)
    label_files = [entry.get("sem_seg_file_name") for entry in dataset_dicts]
    if None in label_files:
        raise InputError(f"DATASETS.TRAIN names '{name}', which has no labels; a source needs them")
    stats_file = _find_stats_file(stats_folder, metadata.get("folder"))
    num_classes = len(metadata.stuff_classes)
    if stats_file is not None:
        return read_statistics(stats_file, label_files, num_classes)
    return _cached_count(name, label_files, np.array(metadata.label_table, np.uint8), num_classes)


def _find_stats_file(stats_folder: str, dataset_folder: str | None) -> Path | None:
    if stats_folder:
        folder = Path(stats_folder).expanduser()
    elif dataset_folder is not None:
        folder = data_root() / dataset_folder
    else:
        return None
    found = next((folder / name for name in STATISTICS_FILES if (folder / name).is_file()), None)
    if stats_folder and found is None:
        raise InputError(
            f"DATALOADER.RARE_CLASS.STATS: folder {folder} holds no {' or '.join(STATISTICS_FILES)}"
            "; give the folder of such a file, or '' to count the label files"
        )
    return found


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
        entries = {_image_key(entry["file"]): entry for entry in listed}
        if len(entries) != len(listed):
            raise ValueError("two entries with one base name")
        missing = next((file for file in label_files if _image_key(file) not in entries), None)
        if missing is None:
            return np.array([_row(entries[_image_key(f)], num_classes) for f in label_files])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} holds no class statistics ({error!r}): make it again, or remove it"
        ) from None
    raise InputError(
        f"{path} has no entry for {missing}: these are another data set's statistics; "
        "remove the file to count anew, or correct DATALOADER.RARE_CLASS.STATS"
    )


def _image_key(label_file: str) -> str:
    stem = Path(label_file).name.removesuffix(".png")
    return stem.removesuffix("_labelTrainIds").removesuffix("_labelIds")


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
    path = _cache_folder() / f"{name}-{_fingerprint(label_files, table)}.npy"
    shape = (len(label_files), num_classes)
    if path.is_file():
        try:
            cached = np.load(path, allow_pickle=False)
            if cached.shape == shape:
                return cached
        except (OSError, ValueError, EOFError):
            logger.warning("class statistics %s are damaged and counted anew", path)
    pixels = count_pixels(name, label_files, table, num_classes)
    _store(path, pixels)
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


def _cache_folder() -> Path:
    return Path(os.environ.get(_CACHE_VARIABLE) or "~/.cache/copt_d2").expanduser() / "rare_class"


def _fingerprint(label_files: list[str], table: ndarray) -> str:
    digest = hashlib.sha256(table.tobytes())
    for label_file in label_files:
        try:
            status = os.stat(label_file)
        except OSError as error:
            raise InputError(f"label file {label_file} cannot be read: {error.strerror}") from None
        digest.update(f"{label_file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _store(path: Path, pixels: ndarray) -> None:
    # written beside its name and renamed: another run never sees half a file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            try:
                np.save(file, pixels)
            except OSError:
                temporary.unlink()
                raise
        os.replace(temporary, path)
    except OSError as error:
        logger.warning("class statistics cannot be kept in %s (%s)", path.parent, error)
