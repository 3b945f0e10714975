"""What a data description says, as values: classes, data sets by role, where their files lie."""

from dataclasses import dataclass, field
from pathlib import Path

from ..label_spaces import Color

ROLES = ("source", "target", "target_labeled", "val")


@dataclass(frozen=True)
class ClassEntry:
    """A class; its position in the description is its train id.

    Attributes:
        name: what reports and pictures call it.
        words: what the text encoder reads, synonyms; the name where the file says nothing.
        color: of its masks, where they are coloured, and of pictures; ``None`` = chosen.
        thing: whether it is a countable object.
        ids: values in masks of ids.
    """

    name: str
    words: tuple[str, ...]
    color: Color | None
    thing: bool
    ids: tuple[int, ...]


@dataclass(frozen=True)
class FileSet:
    """Where files lie: folders, globs, text files with a path a line, or videos.

    Attributes:
        places: absolute, ``~`` and variables replaced, in the order of the description.
        suffix: removed from the end of a file's name before images and masks are compared.
    """

    places: tuple[Path, ...]
    suffix: str = ""


@dataclass(frozen=True)
class Labels:
    """How the labels of a data set are stored.

    Attributes:
        form: "masks", "coco", "panoptic" or "labelme".
        files: of the masks, the PNGs or the JSON files.
        json_file: of COCO and panoptic.
        values: "ids", "colors", or "" = seen from the files (masks).
        ids: stored value -> class name, in place of the classes' own ids (masks).
        categories: name in the JSON -> class name.
    """

    form: str
    files: FileSet | None = None
    json_file: Path | None = None
    values: str = ""
    ids: dict[int, str] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One data set of a role.

    Attributes:
        key: where it stands in the description, for messages: "source", "target[1]".
        images: its images.
        every: of a video every such frame is taken, the first one first.
        labels: ``None`` = unlabelled.
        domain: words or a list of templates; "" = not said.
        weight: how often it is drawn beside the others of its role; ``None`` = by its images.
        skip_missing: whether images without a mask (and masks without an image) are left out.
    """

    key: str
    images: FileSet
    every: int = 1
    labels: Labels | None = None
    domain: str = ""
    weight: float | None = None
    skip_missing: bool = False


@dataclass(frozen=True)
class Description:
    """A data description.

    Attributes:
        path: its file, absolute.
        content: the file's text.
        label_space: "cityscapes", "camvid" or "" = the classes are its own.
        classes: in the order of their train ids.
        ignored_ids: stored values that count nowhere.
        ignored_colors: stored colours that count nowhere.
        parts: role -> its data sets; roles of `ROLES` that the file names.
        share: of labelled target images in the source batch; ``None`` = not said.
        templates: file of template lists; ``None`` = the project's own.
    """

    path: Path
    content: str
    label_space: str
    classes: tuple[ClassEntry, ...]
    ignored_ids: tuple[int, ...]
    ignored_colors: tuple[Color, ...]
    parts: dict[str, tuple[Part, ...]]
    share: float | None = None
    templates: Path | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending: data sets and the output folder are called by it."""
        return self.path.stem

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each train id."""
        return tuple(entry.name for entry in self.classes)
