"""Released checkpoints and ImageNet weights -> files that our networks load.

python tools/convert_weights.py IN OUT [--part model|ema_model|mit]
"""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from copt_d2.checkpoint import convert_mit, convert_mmseg
from copt_d2.errors import InputError
from copt_d2.weight_files import read_tensors

FORMATS = (".pth", ".safetensors")


def write(state: dict[str, torch.Tensor], path: Path) -> None:
    """Writes beside the final name and renames.

    Raises:
        InputError: if it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file({name: value.contiguous() for name, value in state.items()}, temporary)
        else:
            torch.save(state, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} cannot be written ({reason})") from error


def convert(source: Path, target: Path, part: str) -> dict[str, torch.Tensor]:
    """Reads, renames and writes.

    Raises:
        InputError: for a file that cannot be read or written, or that holds something else.
    """
    if target.suffix not in FORMATS:
        raise InputError(f"{target}: OUT must end with {' or '.join(FORMATS)}")
    state = read_tensors(source)
    try:
        converted = convert_mit(state) if part == "mit" else convert_mmseg(state, part)
    except KeyError as error:
        hint = "--part mit is for encoders, model and ema_model are for whole networks"
        raise InputError(f"{source}: {error.args[0]} ({hint})") from error
    write(converted, target)
    return converted


def main(argv: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="IN", help=".pth or .safetensors")
    parser.add_argument("target", type=Path, metavar="OUT", help=".pth or .safetensors")
    parser.add_argument(
        "--part",
        choices=("model", "ema_model", "mit"),
        default="model",
        help="the student (default) or the teacher of a UDA checkpoint, or MiT's ImageNet weights",
    )
    arguments = parser.parse_args(argv)
    try:
        converted = convert(arguments.source, arguments.target, arguments.part)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    key = "MODEL.MIT.WEIGHTS" if arguments.part == "mit" else "MODEL.WEIGHTS"
    print(f"wrote {arguments.target}: {len(converted)} tensors; use it as {key}")


if __name__ == "__main__":
    main()
