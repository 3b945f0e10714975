"""Data sets under ``$DETECTRON2_DATASETS``, in their official layouts, for detectron2's catalogs.

Listing reads file names only, at the time of the call, so the variable may change after the import.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError
from .label_spaces import CAMVID, CAMVID_FENCE, CITYSCAPES, IGNORE_INDEX, LabelSpace

DatasetDict = dict[str, Any]
ListFunction = Callable[[], list[DatasetDict]]
Frames = tuple[int | None, int | None]

_ROOT_VARIABLE = "DETECTRON2_DATASETS"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Layout:
    """Where the files of one split lie, relative to the data root.

    Attributes:
        images: folder of the images.
        labels: folder of the label files; ``None`` = unlabelled, no label file is ever named.
        pattern: glob below ``images``; an image's label has the same sub-folder below ``labels``.
        image_suffixes: endings of image names, removed to give the image's id.
        label_suffix: the id plus this is the name of the label file.
        prefixes: recordings of this split (beginnings of the file names); () = all.
        frames: first and last + 1 of the remaining frames in the order of their names,
            negative = from the end, ``None`` = open.
    """

    images: str
    labels: str | None
    pattern: str = "*"
    image_suffixes: tuple[str, ...] = _IMAGE_SUFFIXES
    label_suffix: str = ".png"
    prefixes: tuple[str, ...] = ()
    frames: Frames = (None, None)

    @property
    def folder(self) -> str:
        """The data set's own folder, where class statistics may lie: first part of ``images``."""
        return self.images.split("/")[0]

    def describe(self) -> str:
        """The expected files in words, for messages."""
        below = self.pattern[: self.pattern.rfind("/") + 1]
        image = f"{_one_of(self.prefixes)}*{_one_of(self.image_suffixes)}"
        if self.labels is None:
            return f"{self.images}/{below}{image}"
        return f"{self.images}/{below}{image} with {self.labels}/{below}*{self.label_suffix}"


def _one_of(options: tuple[str, ...]) -> str:
    # as a shell writes alternatives
    return "{" + ",".join(options) + "}" if len(options) > 1 else "".join(options)


def data_root() -> Path:
    """The folder of all data sets: ``$DETECTRON2_DATASETS``, or ``datasets``."""
    return Path(os.environ.get(_ROOT_VARIABLE) or "datasets").expanduser()


def register_dataset(
    name: str,
    files: Layout | ListFunction,
    label_space: LabelSpace,
    evaluation_classes: tuple[int, ...] | None = None,
) -> None:
    """Makes a data set known under ``name``, replacing an entry of that name.

    Args:
        name: what DATASETS.TRAIN, TARGET and TEST call it.
        files: its layout, or a function that lists it: dicts with ``file_name``, ``image_id`` and,
            where labelled, ``sem_seg_file_name``.
        label_space: its classes and the table of its label files.
        evaluation_classes: train ids averaged in the mIoU; ``None`` = all.
    """
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    is_layout = isinstance(files, Layout)
    DatasetCatalog.register(name, partial(list_files, files) if is_layout else files)
    all_classes = range(len(label_space.classes))
    MetadataCatalog.get(name).set(
        stuff_classes=list(label_space.classes),
        stuff_colors=[list(color) for color in label_space.palette],
        thing_train_ids=list(label_space.things),
        label_table=list(label_space.table),
        ignore_label=IGNORE_INDEX,
        evaluation_classes=list(all_classes if evaluation_classes is None else evaluation_classes),
        evaluator_type="sem_seg",
        folder=files.folder if is_layout else None,
    )


def list_files(layout: Layout) -> list[DatasetDict]:
    """The images of a split, sorted by path, each with its label file where the split is labelled.

    Raises:
        InputError: if the folder is missing, holds no image, or an image has no label file.
    """
    root = data_root()
    folder = root / layout.images
    if not folder.is_dir():
        raise InputError(_layout_message(f"folder {folder} does not exist", layout))
    images = _images_by_id(folder, layout)
    names = sorted(name for name in images if Path(name).name.startswith(layout.prefixes or ""))
    names = names[slice(*layout.frames)]
    if not names:
        raise InputError(
            _layout_message(f"folder {folder} holds no image of this data set", layout)
        )
    return [_dataset_dict(root, layout, name, images[name]) for name in names]


def _images_by_id(folder: Path, layout: Layout) -> dict[str, Path]:
    # keyed by sub-folder and id: an image stored both as PNG and as JPEG counts once
    images = {}
    for path in sorted(folder.glob(layout.pattern)):
        suffix = next(
            (s for s in layout.image_suffixes if path.name.lower().endswith(s.lower())), None
        )
        if suffix is not None and not path.name.startswith("."):
            images[path.relative_to(folder).as_posix()[: -len(suffix)]] = path
    return images


def _dataset_dict(root: Path, layout: Layout, name: str, image: Path) -> DatasetDict:
    entry = {"file_name": str(image), "image_id": Path(name).name}
    if layout.labels is not None:
        label = root / layout.labels / (name + layout.label_suffix)
        if not label.is_file():
            raise InputError(_layout_message(f"image {image} has no label file {label}", layout))
        entry["sem_seg_file_name"] = str(label)
    return entry


def _layout_message(problem: str, layout: Layout) -> str:
    return (
        f"{problem}; expected {layout.describe()} under ${_ROOT_VARIABLE} "
        f"(now {data_root()}): put the data set there or point the variable at its parent folder"
    )


def datasets_named(key: str, names: tuple[str, ...]) -> list[DatasetDict]:
    """The images of several data sets, one after the other.

    Args:
        key: config key that holds the names, for messages.
        names: registered data sets.
    Returns:
        the data sets' dicts, each with its data set's name as ``dataset``.
    Raises:
        InputError: if a name is not registered, or files are missing.
    """
    known = DatasetCatalog.list()
    for name in names:
        if name not in known:
            ours = ", ".join(sorted(SPLITS))
            raise InputError(
                f"{key} names the unknown data set '{name}'; this project's own are {ours}"
            )
    return [dict(entry, dataset=name) for name in names for entry in DatasetCatalog.get(name)]


@dataclass(frozen=True)
class Split:
    """A row of the split table: files, their classes, those averaged in evaluation (all)."""

    layout: Layout
    label_space: LabelSpace
    evaluation_classes: tuple[int, ...] | None = None


def _cityscapes(split: str) -> Split:
    layout = Layout(
        images=f"cityscapes/leftImg8bit/{split}",
        labels=f"cityscapes/gtFine/{split}",
        pattern="*/*_leftImg8bit.png",
        image_suffixes=("_leftImg8bit.png",),
        label_suffix="_gtFine_labelIds.png",
    )
    return Split(layout, CITYSCAPES)


_DAY = ("0006R0", "0016E5")
_DUSK = ("0001TP",)
# `fence` has no pixel in camvid_dusk_val
_DUSK_CLASSES = tuple(k for k in range(len(CAMVID.classes)) if k != CAMVID_FENCE)


def _camvid(
    folder: str,
    prefixes: tuple[str, ...] = (),
    frames: Frames = (None, None),
    labelled: bool = True,
) -> Split:
    labels = f"camvid/{folder}annot" if labelled else None
    layout = Layout(f"camvid/{folder}", labels, prefixes=prefixes, frames=frames)
    return Split(layout, CAMVID, _DUSK_CLASSES if prefixes == _DUSK else None)


SPLITS = {
    "gta_sem_seg_train": Split(Layout("gta/images", "gta/labels"), CITYSCAPES),
    "cityscapes_fine_sem_seg_train": _cityscapes("train"),
    "cityscapes_fine_sem_seg_val": _cityscapes("val"),
    "camvid_day_train": _camvid("train", _DAY),
    "camvid_day_val": _camvid("val"),
    "camvid_dusk_train": _camvid("train", _DUSK, (0, 42), labelled=False),
    "camvid_dusk_train_labeled": _camvid("train", _DUSK, (0, 42)),
    "camvid_dusk_val": _camvid("train", _DUSK, (-20, None)),
    "camvid_dusk_test": _camvid("test", _DUSK),
}


def register_all() -> None:
    """Registers every split; detectron2's own entries of the same names are replaced."""
    for name, split in SPLITS.items():
        register_dataset(name, split.layout, split.label_space, split.evaluation_classes)
