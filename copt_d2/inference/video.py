"""Videos and cameras: frames in, frames out at the same rate and size."""

import contextlib
import importlib.util
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
from numpy import ndarray

from ..errors import InputError

USUAL_RATE = 25.0  # of a video or camera that does not say its own
LEAST_FREE = 2**24  # bytes; OpenCV says nothing of a full disk


class Video:
    """Frames of a video file or a camera.

    Attributes:
        name: for messages.
        rate: frames a second; 0 where it is not known.
        count: frames that it says it has; 0 = unknown.
    """

    def __init__(self, source: Path | int) -> None:
        """Args:
            source: a file, or a camera's number.
        Raises:
            InputError: if it cannot be opened.
        """
        is_camera = isinstance(source, int)
        self.name = f"camera:{source}" if is_camera else str(source)
        self._capture = cv2.VideoCapture(source if is_camera else str(source))
        if not self._capture.isOpened():
            hint = "is it plugged in, and free?" if is_camera else "is it a video? Convert it"
            raise InputError(f"{self.name} cannot be opened: {hint}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else 0.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if not is_camera and 0 < count < 2**40 else 0

    def frames(self) -> Iterator[ndarray]:
        """(H, W, 3) uint8 RGB, one after the other.

        Raises:
            InputError: after the last one, if there was none or the file says it has more.
        """
        found = 0
        try:
            while True:
                is_read, frame = self._capture.read()
                if not is_read:
                    break
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                found += 1
        finally:
            self._capture.release()
        if not found:
            raise InputError(f"{self.name} holds no frame that can be decoded: convert it")
        if found < self.count - max(1, self.count // 100):  # the number is an estimate
            raise InputError(
                f"{self.name} says it has {self.count} frames, but decoding ends after {found}: it "
                "is damaged or cut off; those before are written"
            )


class Writer(Protocol):
    """Takes frames of one size and makes a file of them."""

    path: Path

    def write(self, frame: ndarray) -> None:
        """(H, W, 3) uint8 RGB."""

    def close(self) -> None:
        """Ends the file, which is whole then."""


def has_ffmpeg() -> bool:
    """Whether the extra ``[video]`` is there."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def suffix() -> str:
    """Of the videos that `open_writer` makes."""
    return ".mp4" if has_ffmpeg() else ".webm"


def open_writer(path: Path, rate: float, size: tuple[int, int]) -> Writer:
    """H.264 by ffmpeg where the extra ``[video]`` is installed, else VP8 by OpenCV.

    Args:
        path: with `suffix`; it holds the video when the writer has been closed.
        rate: frames a second; 0 = unknown, then 25.
        size: (h, w) of the frames; odd ones are padded by a pixel on the right or below.
    Raises:
        InputError: if it cannot be written.
    """
    even = size[0] + size[0] % 2, size[1] + size[1] % 2
    maker = _Ffmpeg if path.suffix == ".mp4" else _OpenCV
    return maker(path, rate or USUAL_RATE, even)


def _padded(frame: ndarray, size: tuple[int, int]) -> ndarray:
    below, right = size[0] - frame.shape[0], size[1] - frame.shape[1]
    if not below and not right:
        return frame
    return cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)


class _Ffmpeg:
    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        import imageio_ffmpeg

        self.path, self._size = path, size
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        exact = Fraction(rate).limit_denominator(1001)
        given = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{size[1]}x{size[0]}",
            "-r",
            f"{exact}",
        ]
        made = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-an"]
        said = ["-hide_banner", "-loglevel", "error", "-y"]
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            *said,
            *given,
            "-i",
            "-",
            *made,
            f"{self._part}",
        ]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end of the video)
        # in a session of its own a Ctrl-C does not reach it: the file is ended by `close`
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=self._errors, start_new_session=True
        )

    def write(self, frame: ndarray) -> None:
        try:
            self._process.stdin.write(memoryview(_padded(frame, self._size)).cast("B"))
        except OSError as error:
            raise self._failure() from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._process.wait():
            raise self._failure()
        self._errors.close()
        try:
            self._part.replace(self.path)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror})") from error

    def _failure(self) -> InputError:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        if self._errors.closed:
            return InputError(f"{self.path} cannot be written")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        self._errors.close()
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "ffmpeg ended")
        self._part.unlink(missing_ok=True)
        return InputError(
            f"{self.path} cannot be written ({reason[-200:]}): free space, or use --out"
        )


class _OpenCV:
    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self.path, self._size, self._count = path, size, 0
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        code = cv2.VideoWriter_fourcc(*"VP80")
        self._writer = cv2.VideoWriter(str(self._part), code, rate, (size[1], size[0]))
        if not self._writer.isOpened():
            raise InputError(f"{path} cannot be written: choose another folder with --out")

    def write(self, frame: ndarray) -> None:
        if self._count % 50 == 0 and shutil.disk_usage(self._part.parent).free < LEAST_FREE:
            raise InputError(f"{self.path} cannot be written: the disk is full; free space")
        self._writer.write(cv2.cvtColor(_padded(frame, self._size), cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        self._writer.release()
        try:
            self._part.replace(self.path)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror})") from error
