"""Whole data sets of generated scenes: a benchmark's source and target, or one of any look."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .styles import STYLES
from .writers import (
    CONDITIONS,
    SceneWriter,
    write_acdc,
    write_cityscapes,
    write_dark_zurich,
    write_gta,
    write_split,
    write_synthia,
)

MARKER = "scenes.json"  # in each data set's folder: the arguments that it was made with
VERSION = 2  # of the pictures; raise it when the same arguments no longer give the same ones
WEATHER_VERSION = 1  # the same for all but "rendered" and "photographic"
TOWN_VERSION = 1  # and for "town"
DAY = ("photographic",)


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        stream: of random numbers; no two splits of any data sets share one, or they share scenes.
        count: number of scenes, or whose number on the command line it has: "train" (as source
            --source, as target --target) or "val".
        styles: of its scenes in turn, where they are not the data set's.
    """

    stream: int
    count: int | str
    styles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SceneSet:
    """How one data set is imitated.

    Attributes:
        folder: its name on disk.
        styles: its looks: scene i has number i mod their number.
        write: what writes its files.
        splits: its parts by name.
        version: of its pictures.
    """

    folder: str
    styles: tuple[str, ...]
    write: SceneWriter
    splits: dict[str, Split]
    version: int = WEATHER_VERSION


GTA = SceneSet("gta", ("rendered",), write_gta, {"source": Split(0, "train")}, VERSION)
CITYSCAPES = SceneSet(
    "cityscapes",
    DAY,
    write_cityscapes,
    {"train": Split(1, "train"), "val": Split(2, "val")},
    VERSION,
)
SYNTHIA = SceneSet("synthia", ("synthetic",), write_synthia, {"source": Split(3, "train")})
# The photographs by day ("_ref") are there to be left out by whoever lists the data set.
DARK_ZURICH = SceneSet(
    "dark_zurich",
    ("night",),
    write_dark_zurich,
    {
        "train": Split(4, "train"),
        "val": Split(5, "val"),
        "test": Split(6, 4),
        "val_ref": Split(7, 1, DAY),
    },
)
ACDC = SceneSet(
    "acdc",
    CONDITIONS,
    write_acdc,
    {
        "train": Split(8, "train"),
        "val": Split(9, "val"),
        "test": Split(10, 8),
        "train_ref": Split(11, 4, DAY),
        "val_ref": Split(12, 4, DAY),
    },
)

BENCHMARKS: dict[str, tuple[SceneSet, SceneSet]] = {  # source, target
    "gta2cs": (GTA, CITYSCAPES),
    "synthia2cs": (SYNTHIA, CITYSCAPES),
    "cs2dz": (CITYSCAPES, DARK_ZURICH),
    "cs2acdc": (CITYSCAPES, ACDC),
}


def scenes_of(style: str) -> SceneSet:
    """A plain data set of one look, in folder ``scenes_<style>``: as GTA's, images and labels.

    Raises:
        ValueError: for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}: choose from {', '.join(STYLES)}")
    version = {"rendered": VERSION, "photographic": VERSION, "town": TOWN_VERSION}
    parts = {"source": Split(13, "train")}
    number = version.get(style, WEATHER_VERSION)
    return SceneSet(f"scenes_{style}", (style,), write_gta, parts, number)


@dataclass(frozen=True)
class Job:
    """One data set to be written.

    Attributes:
        scenes: which data set.
        root: its folder.
        splits: split name -> number of scenes.
        width: image width in pixels.
        seed: of all random draws.
    """

    scenes: SceneSet
    root: Path
    splits: dict[str, int]
    width: int
    seed: int

    @property
    def count(self) -> int:
        """Number of scenes."""
        return sum(self.splits.values())

    def arguments(self) -> dict[str, object]:
        """What decides the files' content, as stored in the marker."""
        return {
            "version": self.scenes.version,
            "style": ", ".join(self.scenes.styles),
            "splits": self.splits,
            "width": self.width,
            "seed": self.seed,
        }

    def is_done(self) -> bool:
        """Whether exactly these scenes lie in the folder already.

        Raises:
            ValueError: if the folder holds other files, or scenes made with other arguments.
        """
        marker = self.root / MARKER
        if not marker.exists():
            if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
                reason = "holds files that make_scenes.py did not write"
                raise ValueError(f"{self.root} {reason}: choose another --out")
            return False
        try:
            found = json.loads(marker.read_text())
            complete = found.pop("complete")
        except (ValueError, KeyError, AttributeError):
            raise ValueError(f"{marker} is damaged: delete {self.root}") from None
        if found != self.arguments():
            reason = f"holds scenes made with other arguments ({_differences(found, self)})"
            raise ValueError(f"{self.root} {reason}: delete it or choose another --out")
        return bool(complete)

    def run(self, progress: Callable[[int], object]) -> None:
        """Writes the files; after an interruption, the same call writes them again.

        Raises:
            OSError: if the folder cannot be written.
        """
        self._mark(complete=False)
        for split, count in self.splits.items():
            part = self.scenes.splits[split]
            styles, seeds = part.styles or self.scenes.styles, (self.seed, part.stream)
            write, width = self.scenes.write, self.width
            write_split(write, self.root, split, count, styles, width, seeds, progress)
        self._mark(complete=True)

    def _mark(self, complete: bool) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        content = {**self.arguments(), "complete": complete}
        (self.root / MARKER).write_text(json.dumps(content, indent=1) + "\n")


def plan_benchmark(
    benchmark: str, out: Path, source: int, target: int, val: int, width: int, seed: int
) -> list[Job]:
    """Checks everything and says which data sets are still to be written.

    Args:
        benchmark: a key of BENCHMARKS.
        out: folder that gets one folder per data set.
        source: number of labelled source scenes.
        target: number of target training scenes.
        val: number of target validation scenes; Cityscapes as source gets as many, so that the
            same folder serves as target of another benchmark.
        width: image width in pixels, a multiple of 32 and at least 128; the height is half of it.
        seed: non-negative; the same seed gives the same files.
    Returns:
        The jobs that are not done yet.
    Raises:
        ValueError: for an argument out of range, or a folder that holds something else.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"no benchmark {benchmark!r}: choose from {', '.join(BENCHMARKS)}")
    _check_numbers(width, source=source, target=target, val=val, seed=seed)
    _check_looks(benchmark, target, val)
    jobs = []
    for scenes, train in zip(BENCHMARKS[benchmark], (source, target), strict=True):
        asked = {"train": train, "val": val}
        splits = {name: asked.get(part.count, part.count) for name, part in scenes.splits.items()}
        jobs.append(Job(scenes, Path(out) / scenes.folder, splits, width, seed))
    return [job for job in jobs if not job.is_done()]


def plan_scenes(style: str, out: Path, source: int, width: int, seed: int) -> list[Job]:
    """Checks everything and says whether scenes of one look are still to be written.

    Args:
        style: a key of STYLES.
        out: folder that gets the folder ``scenes_<style>``.
        source: number of scenes.
        width: as for ``plan_benchmark``.
        seed: likewise.
    Returns:
        The job, or nothing if it is done.
    Raises:
        ValueError: as ``plan_benchmark``.
    """
    scenes = scenes_of(style)
    _check_numbers(width, source=source, seed=seed)
    job = Job(scenes, Path(out) / scenes.folder, {"source": source}, width, seed)
    return [] if job.is_done() else [job]


def _check_numbers(width: int, **counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"--{name} is {count}: give 0 or more")
    if width < 128 or width % 32:
        raise ValueError(f"--width is {width}: give a multiple of 32, at least 128")


def _check_looks(benchmark: str, target: int, val: int) -> None:
    looks = len(BENCHMARKS[benchmark][1].styles)
    for name, count in (("target", target), ("val", val)):
        if 0 < count < looks:
            reason = f"{benchmark} divides them among {looks} conditions"
            raise ValueError(f"--{name} is {count}, but {reason}: give {looks} or more")


def write_benchmark(
    benchmark: str,
    out: Path,
    source: int,
    target: int,
    val: int,
    width: int = 512,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> bool:
    """Writes the data sets of a benchmark in their official layouts, those that are not there yet.

    Args:
        benchmark: as the other arguments, see ``plan_benchmark``.
        progress: called with 1 after each scene.
    Returns:
        False if all was there already.
    Raises:
        ValueError: as ``plan_benchmark``.
        OSError: if the folder cannot be written.
    """
    jobs = plan_benchmark(benchmark, out, source, target, val, width, seed)
    for job in jobs:
        job.run(progress)
    return bool(jobs)


def _differences(found: dict[str, object], job: Job) -> str:
    wanted = job.arguments()
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"{name}: {found.get(name)} instead of {wanted[name]}" for name in names)
