"""Frames of a video, written once as PNGs."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
from numpy import ndarray
from tqdm import tqdm

from ...errors import InputError
from .cache import file_digest, make_once, require_space

logger = logging.getLogger("copt_d2.data")


def extract_frames(video: Path, every: int, where: str) -> list[str]:
    """Each ``every``-th frame of a video as a PNG in the cache, the first frame first.

    Args:
        video: the file.
        every: 1 = all frames.
        where: file and key of the description, for messages.
    Returns:
        paths in the order of the frames; their names are the video's and the frame's number.
    Raises:
        InputError: if it is no video, holds no frame, or the disk is full.
    """
    name = f"{file_digest(str(video))}-every{every}"
    folder = make_once("frames", name, where, lambda new: _write_frames(video, every, new, where))
    return sorted(str(path) for path in folder.glob("*.png"))


def _write_frames(video: Path, every: int, folder: Path, where: str) -> None:
    capture = cv2.VideoCapture(os.fspath(video))
    try:
        expected = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        count = last = 0
        for number, frame in tqdm(
            _frames(capture, every), f"frames of {video.name}", expected // every or None, delay=1
        ):
            data = cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
            if not count:
                require_space(folder, len(data) * max(1, expected // every), where)
            (folder / f"{video.stem}_{number:07d}.png").write_bytes(data)
            count, last = count + 1, number
    finally:
        capture.release()
    if not count:
        raise InputError(
            f"{where}: {video} holds no frame that can be decoded: is it a video? Convert it, or "
            "name a folder of its frames"
        )
    if last + every < expected:
        logger.warning(
            "%s: %s says it has %d frames, but decoding ends at frame %d: is it cut off? Only the "
            "frames before are used",
            *(where, video, expected, last),
        )


def _frames(capture: cv2.VideoCapture, every: int) -> Iterator[tuple[int, ndarray]]:
    number = 0
    while capture.grab():  # decodes only what is asked for below
        if number % every == 0:
            decoded, frame = capture.retrieve()
            if not decoded:
                return
            yield number, frame
        number += 1
