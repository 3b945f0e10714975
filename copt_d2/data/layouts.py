"""Where data sets lie on disk, in their official layouts, and how their files are listed.

Listing reads file names only, at the time of the call, so ``$DETECTRON2_DATASETS`` may change after
the import.
"""

import os
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

from ..errors import InputError

DatasetDict = dict[str, Any]
Frames = tuple[int | None, int | None]

_ROOT_VARIABLE = "DETECTRON2_DATASETS"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_CONDITION = "{condition}"


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from, for messages.

    Attributes:
        title: its name.
        address: where it is published.
    """

    title: str
    address: str


@dataclass(frozen=True)
class Layout:
    """Where the files of one split lie, relative to the data root.

    Attributes:
        images: folder of the images; ``{condition}`` in it stands for each of ``conditions``.
        labels: folder of the label files, likewise; ``None`` = unlabelled, no label file is ever
            named.
        pattern: glob below ``images``; an image's label has the same sub-folder below ``labels``.
        image_suffixes: endings of image names, removed to give the image's id.
        label_suffix: the id plus this is the name of the label file.
        prefixes: recordings of this split (beginnings of the file names); () = all.
        frames: first and last + 1 of the remaining frames in the order of their names,
            negative = from the end, ``None`` = open.
        conditions: weather or light, one folder of images each; () = the set has no such division.
        origin: where to get the data set.
    """

    images: str
    labels: str | None
    pattern: str = "*"
    image_suffixes: tuple[str, ...] = _IMAGE_SUFFIXES
    label_suffix: str = ".png"
    prefixes: tuple[str, ...] = ()
    frames: Frames = (None, None)
    conditions: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def folder(self) -> str:
        """The data set's own folder, where class statistics may lie: first part of ``images``."""
        return self.images.split("/")[0]

    def in_folder(self, name: str) -> "Layout":
        """The same layout in an own folder of another name; the labels must lie in it, too."""
        images = name + self.images.removeprefix(self.folder)
        labels = self.labels and name + self.labels.removeprefix(self.folder)
        return replace(self, images=images, labels=labels)

    def by_condition(self) -> dict[str | None, "Layout"]:
        """One layout per condition; ``{None: itself}`` where there are none."""
        if not self.conditions:
            return {None: self}
        return {
            condition: replace(
                self,
                images=self.images.replace(_CONDITION, condition),
                labels=self.labels and self.labels.replace(_CONDITION, condition),
                conditions=(),
            )
            for condition in self.conditions
        }

    def describe(self) -> str:
        """The expected files in words, for messages."""
        below = self.pattern[: self.pattern.rfind("/") + 1]
        image = f"{_one_of(self.prefixes)}*{_one_of(self.image_suffixes)}"
        files = f"{self.images}/{below}{image}"
        if self.labels is not None:
            files += f" with {self.labels}/{below}*{self.label_suffix}"
        return files.replace(_CONDITION, _one_of(self.conditions))


def _one_of(options: tuple[str, ...]) -> str:
    # as a shell writes alternatives
    return "{" + ",".join(options) + "}" if len(options) > 1 else "".join(options)


def data_root() -> Path:
    """The folder of all data sets: ``$DETECTRON2_DATASETS``, or ``datasets``."""
    return Path(os.environ.get(_ROOT_VARIABLE) or "datasets").expanduser()


def list_files(layout: Layout, root: Path | None = None) -> list[DatasetDict]:
    """The images of a split, sorted by path.

    Args:
        layout: of the split.
        root: what it is relative to; ``None`` = `data_root`.
    Returns:
        dicts with ``file_name``, ``image_id``, ``condition`` where there are several, and
        ``sem_seg_file_name`` where the split is labelled.
    Raises:
        InputError: if a folder is missing or holds no image, or an image has no label file.
    """
    try:
        return [
            {**entry, "condition": condition} if condition else entry
            for condition, part in layout.by_condition().items()
            for entry in _list_part(part, data_root() if root is None else root)
        ]
    except InputError as error:
        raise InputError(_with_layout(str(error), layout, root)) from None


def is_absent(layout: Layout, root: Path) -> bool:
    """Whether none of the split's folders of images exists."""
    return not any((root / part.images).is_dir() for part in layout.by_condition().values())


def _list_part(layout: Layout, root: Path) -> list[DatasetDict]:
    folder = root / layout.images
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    images = _images_by_id(folder, layout)
    names = sorted(
        name for name in images if name[name.rfind("/") + 1 :].startswith(layout.prefixes or "")
    )
    names = names[slice(*layout.frames)]
    if not names:
        raise InputError(f"folder {folder} holds no image of this data set")
    entries = [
        {"file_name": images[name], "image_id": name[name.rfind("/") + 1 :]} for name in names
    ]
    if layout.labels is not None:
        _add_labels(entries, names, root / layout.labels, layout)
    return entries


def _images_by_id(folder: Path, layout: Layout) -> dict[str, str]:
    # keyed by sub-folder and id: an image stored both as PNG and as JPEG counts once
    endings = [(suffix.lower(), len(suffix)) for suffix in layout.image_suffixes]
    images = {}
    for path in sorted(glob(layout.pattern, root_dir=folder, recursive=True)):
        lower = path.lower()
        length = next((length for ending, length in endings if lower.endswith(ending)), None)
        if length is not None:
            images[path[:-length]] = f"{folder}/{path}"
    return images


def _add_labels(entries: list[DatasetDict], names: list[str], folder: Path, layout: Layout) -> None:
    # one look into each folder: asking for each of 25,000 files takes long on a network disk
    below = layout.pattern[: layout.pattern.rfind("/") + 1]
    present = set(glob(f"{below}*{layout.label_suffix}", root_dir=folder, recursive=True))
    for entry, name in zip(entries, names, strict=True):
        label = name + layout.label_suffix
        if label not in present:
            raise InputError(f"image {entry['file_name']} has no label file {folder}/{label}")
        entry["sem_seg_file_name"] = f"{folder}/{label}"


def _with_layout(problem: str, layout: Layout, root: Path | None) -> str:
    title, address = "", ""
    if layout.origin is not None:
        title = f"{layout.origin.title}: "
        address = f" (it is published at {layout.origin.address})"
    if root is None:
        expected = f"{layout.describe()} under ${_ROOT_VARIABLE} (now {data_root()})"
        remedy = "point the variable at its parent folder"
    else:
        expected = f"{layout.in_folder('.').describe()} in {root / layout.folder}"
        remedy = "name its own folder"
    return f"{title}{problem}; expected {expected}: put the data set there{address} or {remedy}"
