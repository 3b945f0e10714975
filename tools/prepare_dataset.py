"""Prepares a source data set (train-id maps, class statistics), or checks any data set.

python tools/prepare_dataset.py {gta,synthia,cityscapes,dark_zurich,acdc,camvid} ROOT [--check]
[--jobs N]

ROOT is the data set's own folder, say datasets/gta. A run that was stopped goes on where it was.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Of a damaged image our own message names the file; OpenCV's warning beside it does not.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

from copt_d2.data.checking import check_dataset
from copt_d2.data.class_statistics import STATISTICS_FILES
from copt_d2.data.datasets import SPLITS
from copt_d2.data.prepare import CLASSES_FILE, DATASET_SPLITS, prepare_source, source_split
from copt_d2.errors import InputError


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ``None`` = the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=tuple(DATASET_SPLITS))
    parser.add_argument("root", type=Path, metavar="ROOT", help="the data set's own folder")
    parser.add_argument("--check", action="store_true", help="only look whether all files fit")
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help="threads; as many as cores")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Prepares or checks, and says what was done.

    Raises:
        InputError: for an argument or a file that the user can mend.
        OSError: if something cannot be written.
    """
    dataset, root, jobs = arguments.dataset, arguments.root, arguments.jobs
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}; it must be 1 or more")
    if not root.is_dir():
        raise InputError(f"ROOT {root} is no folder: give the one that holds the data set")
    source = source_split(dataset)
    if arguments.check or source is None:
        for report in check_dataset(dataset, root, jobs):
            print(report.describe())
        return
    images, written = prepare_source(SPLITS[source], root, jobs)
    kept = images - written
    print(f"{source}: {images} images; wrote {written} train-id maps, {kept} were there already")
    print(f"wrote {', '.join((*STATISTICS_FILES, CLASSES_FILE))} in {root}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    arguments = parse_arguments(argv)
    try:
        run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place, reason = error.filename or arguments.root, error.strerror or error
        print(f"error: cannot write {place} ({reason}); then run again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
