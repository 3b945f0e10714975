"""Results as files: overlays, colours, train ids and confidences of pictures and videos."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray

from ..errors import InputError
from ..files import replace_bytes
from .drawing import Legend, blended, color_table
from .result import Result
from .video import Video, Writer, open_writer, suffix

MAX_16_BIT = 65535


def _overlay(result: Result) -> ndarray:
    return blended(result.image, result.mask, result.palette)


def _color(result: Result) -> ndarray:
    return color_table(result.palette)[result.mask]


def _ids(result: Result) -> ndarray:
    return result.mask


def _confidence(result: Result) -> ndarray:
    return (MAX_16_BIT * result.confidence).round().astype(np.uint16)


KINDS: dict[str, Callable[[Result], ndarray]] = {
    **{"overlay": _overlay, "color": _color, "ids": _ids, "confidence": _confidence}
}
AS_VIDEO = ("overlay", "color")  # compression would change the others


def check_kinds(text: str) -> tuple[str, ...]:
    """The kinds of "overlay,ids".

    Raises:
        InputError: for one that there is not, or none.
    """
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        what = f"there is no {unknown[0]!r}" if unknown else "it is empty"
        raise InputError(f"--save {text}: {what}; choose from {', '.join(KINDS)}")
    return kinds


class Folder:
    """OUT/<kind>/<name>.png of each picture.

    Args:
        out: made where it is not there.
        kinds: keys of `KINDS`.
    Raises:
        InputError: if it cannot be written.
    """

    def __init__(self, out: Path, kinds: Sequence[str]) -> None:
        self.out, self.kinds = out, tuple(kinds)
        for kind in self.kinds:
            _make(out / kind)

    def save(self, name: Path, result: Result, kinds: Sequence[str] | None = None) -> None:
        """Writes the PNGs of one picture.

        Raises:
            InputError: if they cannot be written.
        """
        for kind in self.kinds if kinds is None else kinds:
            path = self.out / kind / f"{name}.png"
            _make(path.parent)
            pixels = KINDS[kind](result)
            if pixels.ndim == 3:
                pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            # level 1: as fast as the network is, and hardly larger
            data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            try:
                replace_bytes(path, data.tobytes())
            except OSError as error:
                raise _unwritable(path, error) from error


class VideoFolder:
    """OUT/<kind>/<name>.mp4 of a video; ids and confidences as PNGs in a folder of that name.

    Args:
        folder: where and which kinds.
        name: of the video, without a suffix.
        video: whose rate counts.
    """

    def __init__(self, folder: Folder, name: Path, video: Video) -> None:
        self._folder, self._name, self._rate = folder, name, video.rate
        self._writers: dict[str, Writer] = {}
        self._legend: Legend | None = None
        self._size = (0, 0)
        self._count = 0

    def save(self, result: Result) -> None:
        """Adds a frame.

        Raises:
            InputError: if it cannot be written.
        """
        if self._legend is None:
            self._start(result)
        for kind, writer in self._writers.items():
            picture = KINDS[kind](result)
            if picture.shape[:2] != self._size:  # some cameras change it
                picture = cv2.resize(picture, self._size[::-1], interpolation=cv2.INTER_NEAREST)
            self._legend.put_into(picture)
            writer.write(picture)
        stills = [kind for kind in self._folder.kinds if kind not in AS_VIDEO]
        self._folder.save(self._name / f"{self._name.name}_{self._count:07d}", result, stills)
        self._count += 1

    def _start(self, result: Result) -> None:
        self._size = result.mask.shape
        self._legend = Legend(*self._size, result.classes, result.palette)
        for kind in self._folder.kinds:
            if kind in AS_VIDEO:
                path = self._folder.out / kind / f"{self._name}{suffix()}"
                _make(path.parent)
                self._writers[kind] = open_writer(path, self._rate, self._size)

    def close(self) -> list[Path]:
        """Ends the videos and returns their files.

        Raises:
            InputError: if one cannot be written; the others are whole.
        """
        failures = []
        for writer in self._writers.values():
            try:
                writer.close()
            except InputError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return [writer.path for writer in self._writers.values()]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({error.strerror}): free space, or choose another folder with "
        "--out"
    )
