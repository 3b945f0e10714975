"""Lists the files that a description's places hold, and finds the label of each image."""

import glob
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from .schema import FileSet

logger = logging.getLogger("copt_d2.data")

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ogv")
JSON_ENDINGS = (".json",)
_EXAMPLES = 3


@dataclass(frozen=True)
class Found:
    """A file.

    Attributes:
        key: its path below its place, without ending and suffix; images and labels meet by it.
        path: the file.
    """

    key: str
    path: str


def list_found(files: FileSet, endings: Sequence[str], where: str) -> list[Found]:
    """The files of a description's places that end in one of ``endings``, sorted by path.

    Folders are searched with all that is below; a link that leads back is followed once.

    Args:
        files: the places: folders, globs, text files of paths, single files.
        endings: in lower case; the files' own may have any case.
        where: file and key of the description, for messages.
    Raises:
        InputError: if a place is missing, or holds no such file.
    """
    found = []
    for place in files.places:
        here = list(_of_place(place, tuple(endings), where))
        if not here:
            raise InputError(
                f"{where}: {place} holds no file that ends in {', '.join(endings)}: correct it"
            )
        found += here
    return [Found(_key(file.key, files.suffix), file.path) for file in found]


def _of_place(place: Path, endings: tuple[str, ...], where: str) -> Iterator[Found]:
    text = os.fspath(place)
    if place.is_dir():
        for path in sorted(_walk(text)):
            if path.lower().endswith(endings):
                yield Found(os.path.relpath(path, text), path)
    elif place.is_file() and place.suffix.lower() == ".txt":
        yield from _of_list(place, endings, where)
    elif place.is_file():
        if text.lower().endswith(endings):
            yield Found(place.name, text)
    elif glob.has_magic(text):
        folder = _fixed_part(text)
        for path in sorted(glob.glob(text, recursive=True)):
            if path.lower().endswith(endings) and os.path.isfile(path):
                yield Found(os.path.relpath(path, folder), path)
    else:
        raise InputError(f"{where}: {place} does not exist: correct it, or put the files there")


def _walk(folder: str) -> Iterator[str]:
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(here, name) for name in names if not name.startswith("."))


def _fixed_part(pattern: str) -> str:
    parts = Path(pattern).parts
    count = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    return os.path.join(*parts[:count])


def _of_list(place: Path, endings: tuple[str, ...], where: str) -> Iterator[Found]:
    text = os.fsdecode(place.read_bytes())
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    paths = [
        os.path.normpath(os.path.join(place.parent, os.path.expanduser(os.path.expandvars(line))))
        for line in lines
        if line and not line.startswith("#")
    ]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise InputError(
            f"{where}: {place} names {missing[0]}{_more(len(missing))}, which does not exist: "
            "correct the list"
        )
    wrong = [path for path in paths if not path.lower().endswith(endings)]
    if wrong:
        raise InputError(
            f"{where}: {place} names {wrong[0]}, which is none of {', '.join(endings)}"
        )
    folder = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    for path in paths:
        yield Found(os.path.relpath(path, folder), path)


def _more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


def _key(name: str, suffix: str) -> str:
    stem = os.path.splitext(name)[0]
    return stem.removesuffix(suffix) if suffix else stem


@dataclass(frozen=True)
class Pairs:
    """What belongs together.

    Attributes:
        pairs: image and label file.
        images_alone: images without a label.
        labels_alone: labels without an image.
    """

    pairs: list[tuple[str, str]]
    images_alone: list[str]
    labels_alone: list[str]


def match(images: Sequence[Found], labels: Sequence[Found], where: str) -> Pairs:
    """Joins images and labels of the same key, in the order of the images.

    Args:
        images: of one data set.
        labels: its mask or JSON files.
        where: file and key of the description, for messages.
    Raises:
        InputError: if two images or two labels have one key, or nothing fits.
    """
    by_key = {}
    for kind, files in (("images", images), ("masks", labels)):
        seen: dict[str, str] = {}
        for file in files:
            if file.key in seen:
                raise InputError(
                    f"{where}: {seen[file.key]} and {file.path} are two {kind} of one name "
                    f"({file.key}): move one away"
                )
            seen[file.key] = file.path
        by_key[kind] = seen
    of_label = by_key["masks"]
    pairs = [(file.path, of_label[file.key]) for file in images if file.key in of_label]
    if not pairs:
        raise InputError(f"{where}: no mask belongs to an image: {_why(images, labels)}")
    return Pairs(
        pairs,
        [file.path for file in images if file.key not in of_label],
        [file.path for file in labels if file.key not in by_key["images"]],
    )


def complete(joined: Pairs, skip_missing: bool, where: str) -> list[tuple[str, str]]:
    """The pairs; images and labels alone are named.

    Args:
        joined: of `match`.
        skip_missing: whether those alone are left out.
        where: file and key of the description, for messages.
    Raises:
        InputError: if there are some and ``skip_missing`` is false.
    """
    kinds = {
        "images without a label": joined.images_alone,
        "labels without an image": joined.labels_alone,
    }
    alone = " and ".join(
        f"{len(files)} {kind}, such as {files[0]}" for kind, files in kinds.items() if files
    )
    if alone and not skip_missing:
        raise InputError(
            f"{where}: {alone}, beside {len(joined.pairs)} pairs: add what is missing, or set "
            "missing: skip"
        )
    if alone:
        logger.warning("%s: left out: %s; %d pairs stay", where, alone, len(joined.pairs))
    return joined.pairs


def _why(images: Sequence[Found], labels: Sequence[Found]) -> str:
    first = os.path.basename(images[0].key)
    endings = suffixes(images, labels)
    if endings is not None:
        keys = zip(("image_suffix", "mask_suffix"), endings, strict=True)
        return f"set {', '.join(f'{key}: {value}' for key, value in keys if value)}"
    return (
        f"an image is called {images[0].key}, a mask {labels[0].key}; a mask has the path of its "
        f"image below its folder, less endings (image_suffix, mask_suffix): expected {first}"
    )


def suffixes(images: Sequence[Found], labels: Sequence[Found]) -> tuple[str, str] | None:
    """Endings of the names (``_leftImg8bit``, ``_mask``) without which images and labels meet.

    Returns:
        image and mask suffix, the first that lets at least half of the images find a mask;
        ``None`` if there is none.
    """
    image_keys, label_keys = ({file.key for file in files} for files in (images, labels))
    for image_suffix in _endings(image_keys):
        stems = {key.removesuffix(image_suffix) for key in image_keys}
        for label_suffix in _endings(label_keys):
            both = stems & {key.removesuffix(label_suffix) for key in label_keys}
            if 2 * len(both) >= len(image_keys):
                return image_suffix, label_suffix
    return None


def _endings(keys: set[str]) -> list[str]:
    """ "" and the common ends of all keys that begin at a mark: "_gtFine_labelIds", "_labelIds"."""
    first, last = min(backwards := [key[::-1] for key in keys]), max(backwards)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    common = "".join(letter for letter, _ in same)[::-1]
    starts = [n for n, letter in enumerate(common) if letter in "_-. "]
    return ["", *(common[n:] for n in reversed(starts))]
