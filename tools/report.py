"""The paper's tables beside our runs, as Markdown.

python tools/report.py RUN_DIR [RUN_DIR ...] --out report.md [--pictures]

A RUN_DIR is the OUTPUT_DIR of a training or an evaluation (tools/train_net.py).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import copt_d2  # noqa: F401  isort: skip  (registers the data sets)

from detectron2.data import DatasetCatalog
from numpy import ndarray

from copt_d2.data.bit_depth import find_bit_depth
from copt_d2.data.reading import MAX_BITS, read_image, read_train_ids
from copt_d2.errors import InputError
from copt_d2.evaluation.report import (
    Readers,
    build_report,
    read_runs,
    split_by_export,
    write_sheets,
)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ``None`` = the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR", help="folders of runs")
    parser.add_argument("--out", type=Path, default=Path("report.md"), help="default report.md")
    parser.add_argument(
        "--pictures", action="store_true", help="sheets of exported predictions beside the report"
    )
    parser.add_argument("--images", type=int, default=4, help="images of a sheet, default 4")
    return parser.parse_args(argv)


def read_shown(file: str, dataset: str) -> ndarray:
    """An image of a data set, (H, W, 3) uint8 RGB, as bright as the values of the whole set say."""
    files = [entry["file_name"] for entry in DatasetCatalog.get(dataset)]
    return read_image(file, find_bit_depth(dataset, files) or MAX_BITS)


def write_report(arguments: argparse.Namespace) -> None:
    """Writes the report, perhaps its pictures, and says where they are.

    Raises:
        InputError: for a folder or file that the user can mend.
        OSError: if the report cannot be written.
    """
    if arguments.images < 1:
        raise InputError(f"--images is {arguments.images}; it must be 1 or more")
    measurements = read_runs(arguments.runs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    if arguments.pictures:
        exported, hints = split_by_export(measurements)
        for hint in hints:
            print(hint)
        readers = Readers(read_shown, read_train_ids)
        pictures = write_sheets(exported, arguments.out, arguments.images, readers)
    beside = [path.relative_to(arguments.out.parent) for path in pictures]
    # what it quotes of file names keeps its bytes
    text = build_report(measurements, beside).encode(errors="surrogateescape")
    arguments.out.write_bytes(text)
    print(f"wrote {', '.join(str(path) for path in (arguments.out, *pictures))}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    arguments = parse_arguments(argv)
    try:
        write_report(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place, reason = error.filename or arguments.out, error.strerror or error
        print(f"error: {place}: {reason}; name another folder or mend its rights", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
