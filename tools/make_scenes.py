"""Writes generated street scenes: a benchmark in its data sets' layouts, or one labelled data set.

python tools/make_scenes.py --benchmark gta2cs --out datasets
python tools/make_scenes.py --benchmark cs2acdc --out datasets --target 400 --val 60
python tools/make_scenes.py --style town --out datasets --source 400 --width 480

With --style, images and labels (PNG, Cityscapes' ids) of one look lie in OUT/scenes_<style>.
Benchmarks in the same folder, with the same numbers and seed, share what they have in common.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from copt_d2.errors import InputError
from copt_d2.scenes import BENCHMARKS, STYLES, plan_benchmark, plan_scenes
from copt_d2.scenes.benchmark import Job


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ``None`` = the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--benchmark", help=" or ".join(BENCHMARKS))
    what.add_argument("--style", help=f"one labelled data set: {', '.join(STYLES)}")
    out = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    parser.add_argument("--out", type=Path, default=out, help="folder of the data sets")
    parser.add_argument("--source", type=int, default=400, help="labelled (source) scenes")
    parser.add_argument("--target", type=int, default=400, help="target training scenes")
    parser.add_argument("--val", type=int, default=60, help="validation scenes of the target")
    parser.add_argument(
        "--width",
        type=int,
        default=512,
        help="pixels; the height is half of it, in a town three quarters",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def make_scenes(arguments: argparse.Namespace) -> None:
    """Writes what is missing and says what was done.

    Raises:
        InputError: for an argument or a folder that the user can mend.
    """
    try:
        jobs = _plan(arguments)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not jobs:
        print(f"the scenes are already there in {arguments.out}: nothing to do")
        return
    with tqdm(total=sum(job.count for job in jobs), unit="scene") as bar:
        for job in jobs:
            bar.set_description(job.scenes.folder)
            job.run(bar.update)
    print(f"wrote {', '.join(str(job.root) for job in jobs)}")


def _plan(arguments: argparse.Namespace) -> list[Job]:
    given = vars(arguments)
    if arguments.style is None:
        return plan_benchmark(**{name: given[name] for name in given if name != "style"})
    chosen = ("style", "out", "source", "width", "seed")
    return plan_scenes(**{name: given[name] for name in chosen})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    arguments = parse_arguments(argv)
    try:
        make_scenes(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place, reason = error.filename or arguments.out, error.strerror or error
        print(f"error: cannot write {place} ({reason}): choose another --out", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
