"""What INPUT of `copt predict` stands for: pictures, videos, a camera."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".ogv")
CAMERA = re.compile(r"camera:(\d+)")


@dataclass(frozen=True)
class Item:
    """One picture or video.

    Attributes:
        path: of the file.
        shown: its path below INPUT, with the suffix.
        name: path of what is written for it, below a folder of outputs, without a suffix.
    """

    path: Path
    shown: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether it is a video by its suffix."""
        return self.path.suffix.lower() in VIDEOS


def camera_number(text: str) -> int | None:
    """N of ``camera:N``, ``None`` of anything else.

    Raises:
        InputError: for ``camera:`` without a number.
    """
    if not text.startswith("camera:") or Path(text).exists():
        return None
    found = CAMERA.fullmatch(text)
    if found is None:
        raise InputError(f"{text}: a camera is named by its number, such as camera:0")
    return int(found[1])


def find_items(text: str, out: Path) -> list[Item]:
    """The pictures and videos of a file, a folder (with all below it) or a glob, in order.

    Args:
        text: INPUT.
        out: where outputs go; what lies there is no input.
    Raises:
        InputError: if there is none.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return _named([(path, Path(path.name))])
    if path.is_dir():
        files = [(file, file.relative_to(path)) for file in _below(path, out)]
        what = f"{path} and the folders in it hold"
    else:
        found = sorted(glob.glob(str(path), recursive=True))
        files = [(Path(file), Path(file)) for file in found if os.path.isfile(file)]
        if not found:
            raise InputError(
                f"no such file or folder: {text}; give an image, a folder, a glob in quotes, a "
                "video, or camera:0"
            )
        base = os.path.commonpath([file.parent for file, _ in files]) if files else "."
        files = [(file, file.relative_to(base)) for file, _ in files if _is_input(file)]
        what = f"{text} matches"
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in (*PICTURES, *VIDEOS))
        raise InputError(f"{what} no image and no video; files of these kinds count: {kinds}")
    return _named(files)


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in (*PICTURES, *VIDEOS) and not path.name.startswith(".")


def _below(folder: Path, out: Path) -> Iterator[Path]:
    """Files in order; links to folders are followed, but never in a circle."""
    seen, left_out = set(), out.resolve()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = Path(here).resolve()
        if real in seen or real == left_out:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(here) / name for name in sorted(names) if _is_input(Path(name)))


def _named(files: list[tuple[Path, Path]]) -> list[Item]:
    """a.png and a.jpg of one folder are written as a_png and a_jpg."""
    counts = Counter(shown.with_suffix("") for _, shown in files)
    items = []
    for path, shown in files:
        name = shown.with_suffix("")
        if counts[name] > 1:
            name = name.with_name(f"{name.name}_{path.suffix[1:]}")
        items.append(Item(path, shown, name))
    return items
