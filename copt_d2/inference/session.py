"""Many pictures and videos: read, predicted and written at the same time."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
from numpy import ndarray
from tqdm import tqdm

from ..data.reading import read_image
from ..errors import InputError
from .background import Background, iterate_ahead, read_ahead
from .coco import CocoFile
from .drawing import blended
from .inputs import Item
from .outputs import AS_VIDEO, Folder, VideoFolder
from .predictor import Predictor
from .result import Result
from .video import Video, has_ffmpeg

READERS, WRITERS = 2, 2
AHEAD = 4  # pictures that wait on either side of the network
WINDOW = "copt predict"
Picture = tuple[ndarray, str]


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


class Session:
    """Predicts what it is given and writes the results; what cannot be read is told and counted.

    Args:
        predictor: the model.
        folder: takes the files.
        ignore_below: confidence below which a pixel becomes 255; 0 = none does.
        batch: images that go through the network at once.
        coco: takes the annotations of pictures.
        show: whether frames are shown in a window.
        tell: says a line.
    """

    def __init__(
        self,
        predictor: Predictor,
        folder: Folder,
        *,
        ignore_below: float = 0.0,
        batch: int = 1,
        coco: CocoFile | None = None,
        show: bool = False,
        tell: Callable[[str], None] = _tell,
    ) -> None:
        self.predictor, self.folder = predictor, folder
        self.ignore_below, self.batch = ignore_below, batch
        self.coco, self.show, self.tell = coco, show, tell
        self.failures = 0
        self.written = 0
        self._has_told_of_webm = False

    def pictures(self, items: Sequence[Item]) -> None:
        """Predicts picture files.

        Raises:
            InputError: if outputs cannot be written.
        """
        # annotations are numbered in order
        writers = 1 if self.coco else WRITERS
        calls = (partial(self._read, item) for item in items)
        with tqdm(total=len(items), unit="image") as bar, Background(writers, AHEAD) as writing:
            for group in _groups(read_ahead(calls, READERS, AHEAD + self.batch), self.batch):
                read = [entry for entry in group if not isinstance(entry, InputError)]
                for error in (entry for entry in group if isinstance(entry, InputError)):
                    self._fail(error)
                for item, result in self._predicted(read):
                    writing.call(self._save, item, result)
                bar.update(len(group))

    def _read(self, item: Item) -> tuple[Item, Picture] | InputError:
        try:
            return item, (read_image(item.path, self.predictor.bit_depth), str(item.path))
        except InputError as error:
            return error

    def _predicted(self, read: list[tuple[Item, Picture]]) -> Iterator[tuple[Item, Result]]:
        try:
            results = self._results([picture for _, picture in read]) if read else []
        except InputError as error:
            if len(read) == 1:
                self._fail(error)
                return
            for one in read:  # which of them is it?
                yield from self._predicted([one])
            return
        yield from ((item, result) for (item, _), result in zip(read, results, strict=True))

    def _results(self, pictures: Sequence[Picture]) -> list[Result]:
        is_needed = self.ignore_below > 0 or "confidence" in self.folder.kinds
        results = list(self.predictor.predict_batch(pictures, confidence=is_needed))
        if self.ignore_below > 0:
            results = [result.ignore_below(self.ignore_below) for result in results]
        if self.show:
            for result in results:
                _show(result)
        return results

    def _save(self, item: Item, result: Result) -> None:
        self.folder.save(item.name, result)
        if self.coco is not None:
            self.coco.add(item.shown.as_posix(), result)
        self.written += 1

    def _fail(self, error: InputError) -> None:
        self.failures += 1
        self.tell(f"error: {error}")

    def video(self, source: Path | int, name: Path) -> list[Path]:
        """Predicts a video file or a camera, until it ends or Ctrl-C; what is written is whole.

        Returns:
            the videos that it has written.
        Raises:
            InputError: if outputs cannot be written.
        """
        try:
            video = Video(source)
        except InputError as error:
            self._fail(error)
            return []
        output = VideoFolder(self.folder, name, video)
        try:
            self._frames_through(video, output, name)
        except BaseException:
            with suppress(InputError):  # the first error is told
                output.close()
            raise
        return output.close()

    def _frames_through(self, video: Video, output: VideoFolder, name: Path) -> None:
        total = video.count or None
        with (
            tqdm(total=total, unit="frame", desc=name.name) as bar,
            Background(1, AHEAD) as writing,
        ):
            for group in _groups(self._frames(video), self.batch):
                if not bar.n:
                    self._tell_of_video(video, group[0])
                try:
                    results = self._results([(frame, video.name) for frame in group])
                except InputError as error:
                    self._fail(error)
                    return
                for result in results:
                    writing.call(output.save, result)
                    self.written += 1
                bar.update(len(group))

    def _frames(self, video: Video) -> Iterator[ndarray]:
        try:
            yield from iterate_ahead(video.frames(), AHEAD + self.batch)
        except InputError as error:  # what was decoded before is written
            self._fail(error)

    def _tell_of_video(self, video: Video, frame: ndarray) -> None:
        if not set(AS_VIDEO) & set(self.folder.kinds):
            return
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            even = f"{width + width % 2}x{height + height % 2}"
            self.tell(f"{video.name}: {width}x{height} is odd, its videos are padded to {even}")
        if not video.rate:
            self.tell(f"{video.name} does not say how many frames a second it has: 25 are taken")
        if not has_ffmpeg() and not self._has_told_of_webm:
            self._has_told_of_webm = True
            self.tell("videos are written as VP8 in .webm; for .mp4: pip install 'copt-d2[video]'")


def _groups(items: Iterable, size: int) -> Iterator[list]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def check_window() -> None:
    """Opens the window of --show.

    Raises:
        InputError: if OpenCV has none, or there is no screen.
    """
    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise InputError(
            "--show needs a screen and an OpenCV with windows: pip uninstall opencv-python-headless"
            " and pip install opencv-python, or leave it out and look at the files"
        ) from error


def _show(result: Result) -> None:
    picture = blended(result.image, result.mask, result.palette)
    cv2.imshow(WINDOW, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if cv2.waitKey(1) & 0xFF in (ord("q"), 27):
        raise KeyboardInterrupt
