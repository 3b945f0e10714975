"""Writes a benchmark of generated street scenes, in the official layouts of its data sets.

python tools/make_scenes.py --benchmark gta2cs --out datasets
python tools/make_scenes.py --benchmark cs2acdc --out datasets --target 400 --val 60

Benchmarks in the same folder, with the same numbers and seed, share what they have in common.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from copt_d2.errors import InputError
from copt_d2.scenes import BENCHMARKS, plan_benchmark


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ``None`` = the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benchmark", required=True, help=" or ".join(BENCHMARKS))
    out = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    parser.add_argument("--out", type=Path, default=out, help="folder of the data sets")
    parser.add_argument("--source", type=int, default=400, help="labelled source scenes")
    parser.add_argument("--target", type=int, default=400, help="target training scenes")
    parser.add_argument("--val", type=int, default=60, help="validation scenes of the target")
    parser.add_argument("--width", type=int, default=512, help="pixels; the height is half of it")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def make_scenes(arguments: argparse.Namespace) -> None:
    """Writes what is missing and says what was done.

    Raises:
        InputError: for an argument or a folder that the user can mend.
    """
    try:
        jobs = plan_benchmark(**vars(arguments))
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
