"""Predicts images, folders, videos or a camera with a trained model.

python tools/predict.py RUN_OR_FILE INPUT [--out DIR] [--save overlay,color,ids,confidence]

INPUT is an image, a folder (its tree is kept), a glob in quotes, a video, or camera:0. Each image
gives DIR/<kind>/<name>.png; a video gives DIR/<kind>/<name>.mp4, its ids and confidences PNGs.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Of a damaged image our own message names the file; OpenCV's warning beside it does not.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import copt_d2  # isort: skip

from copt_d2.errors import InputError
from copt_d2.inference.coco import CocoFile
from copt_d2.inference.inputs import camera_number, find_items
from copt_d2.inference.outputs import Folder, check_kinds
from copt_d2.inference.session import Session, check_window

STOPPED = 130  # exit status after Ctrl-C, as of a shell


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ``None`` = the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="RUN_OR_FILE", help="folder of a run, .pth, .safetensors, or hub id")
    add("input", metavar="INPUT", help="image, folder, glob, video, or camera:0")
    add("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default predictions")
    add("--save", default="overlay", metavar="KINDS", help="overlay,color,ids,confidence")
    add("--ignore-below", type=float, default=0.0, metavar="P", help="255 where less sure than P")
    add("--coco", type=Path, metavar="FILE", help="write RLE annotations of the images")
    add("--show", action="store_true", help="show what is predicted in a window; q ends")
    add("--batch", type=int, default=1, metavar="N", help="images at once, default 1")
    add("--device", metavar="NAME", help="cuda or cpu; default: a GPU if there is one")
    add("--half", action="store_true", help="compute in bfloat16: faster, not bit-equal")
    add("--part", default="student", help="student or teacher of a checkpoint")
    add("--config-file", metavar="F", help="for files that hold no config, such as gta2cs")
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace) -> None:
    """Looks at the values of the flags.

    Raises:
        InputError: naming the first that is wrong.
    """
    if arguments.batch < 1:
        raise InputError(f"--batch {arguments.batch}: give a number of 1 or more")
    if not 0 <= arguments.ignore_below <= 1:
        raise InputError(f"--ignore-below {arguments.ignore_below}: give a probability, 0 to 1")


def predict(arguments: argparse.Namespace) -> int:
    """Does all of it and returns the exit status.

    Raises:
        InputError: for what stops it as a whole.
    """
    check(arguments)
    kinds, camera = check_kinds(arguments.save), camera_number(arguments.input)
    items = [] if camera is not None else find_items(arguments.input, arguments.out)
    pictures = [item for item in items if not item.is_video]
    if arguments.coco and not pictures:
        raise InputError(f"--coco annotates images, and {arguments.input} holds none")
    if arguments.show:
        check_window()
    model = copt_d2.load_model(
        arguments.model,
        device=arguments.device,
        config=arguments.config_file,
        part=arguments.part,
    )
    if arguments.half:
        model.half()
    coco = CocoFile(arguments.coco, model.classes, model.things) if arguments.coco else None
    session = Session(
        model,
        Folder(arguments.out, kinds),
        ignore_below=arguments.ignore_below,
        batch=arguments.batch,
        coco=coco,
        show=arguments.show,
    )
    return run(session, pictures, [item for item in items if item.is_video], camera)


def run(session: Session, pictures: list, videos: list, camera: int | None) -> int:
    """Predicts all and says what became of it."""
    start, is_stopped = time.perf_counter(), False
    try:
        if pictures:
            session.pictures(pictures)
        for item in videos:
            session.video(item.path, item.name)
        if camera is not None:
            session.video(camera, Path(f"camera_{camera}"))
    except KeyboardInterrupt:
        is_stopped = True
    finally:
        if session.coco is not None:
            session.coco.write()
    rate = session.written / max(time.perf_counter() - start, 1e-9)
    print(
        f"{session.written} predicted, {rate:.1f} a second; the results are in {session.folder.out}"
    )
    if session.failures:
        print(f"error: {session.failures} could not be predicted, see above", file=sys.stderr)
        return 1
    return STOPPED if is_stopped and camera is None else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line; a mistake ends in one line and exit status 1."""
    try:
        status = predict(parse_arguments(argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:  # before anything was predicted
        status = STOPPED
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
