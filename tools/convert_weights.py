"""Our own and released checkpoints and ImageNet weights -> files that our networks load.

python tools/convert_weights.py IN OUT [--part student|teacher|mit]
"""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from copt_d2.checkpoint import ALIASES, PARTS, convert_mit, mit_names, network_names
from copt_d2.errors import InputError
from copt_d2.modeling.backbone.mix_transformer import VARIANTS, MixTransformer
from copt_d2.weight_files import check_contents, named_values, read_tensors

FORMATS = (".pth", ".safetensors")


def write(state: dict[str, torch.Tensor], path: Path) -> None:
    """Writes beside the final name and renames.

    Raises:
        InputError: if it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    # of a view, the file would hold all that it is a view of
    state = {n: v.detach().clone(memory_format=torch.contiguous_format) for n, v in state.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(state, temporary)
        else:
            torch.save(state, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} cannot be written ({reason})") from error


def check_shapes(encoder: dict[str, torch.Tensor]) -> None:
    """Compares with the variants of MiT.

    Raises:
        KeyError: naming a tensor of a shape that it has in none of them.
    """
    found = []
    for variant in VARIANTS:
        with torch.device("meta"):
            wanted = {n: v.shape for n, v in MixTransformer(variant).state_dict().items()}
        if wanted.keys() == encoder.keys():
            wrong = [name for name, shape in wanted.items() if encoder[name].shape != shape]
            texts = [f"{n} is {tuple(encoder[n].shape)}, not {tuple(wanted[n])}" for n in wrong]
            found.append((len(wrong), f"{' '.join(texts[:1])} as in MiT-{variant.upper()}"))
    count, text = min(found)
    if count:
        raise KeyError(text)


def convert(source: Path, target: Path, part: str) -> dict[str, torch.Tensor]:
    """Reads, renames and writes.

    Args:
        source: the file to read.
        target: the file to write.
        part: "student" or "teacher" of a whole network's file, "mit" of an encoder's.
    Raises:
        InputError: for a file that cannot be read or written, or that holds something else.
    """
    if target.suffix not in FORMATS:
        raise InputError(f"{target}: OUT must end with {' or '.join(FORMATS)}")
    state = named_values(read_tensors(source), str(source))
    try:
        if part == "mit":
            keys = [key for parts in mit_names({k: k for k in state}).values() for key in parts]
            check_contents(state, keys, str(source))
            converted = convert_mit(state)
            check_shapes(converted)
        else:
            names = network_names(state, part)
            if not any(name.startswith("backbone.") for name in names):
                begins = "'model.', 'student.' or 'backbone.'"
                raise KeyError(f"no key begins with {begins}; the first is {next(iter(state))!r}")
            check_contents(state, names.values(), str(source))
            converted = {name: state[key] for name, key in names.items()}
    except KeyError as error:
        hint = "--part mit is for encoders, student and teacher are for whole networks"
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
        choices=(*PARTS, *ALIASES, "mit"),
        default="student",
        help="the student (default; also: model) or the teacher (also: ema_model) of a UDA "
        "checkpoint, or MiT's ImageNet weights",
    )
    arguments = parser.parse_args(argv)
    part = ALIASES.get(arguments.part, arguments.part)
    try:
        converted = convert(arguments.source, arguments.target, part)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    key = "MODEL.MIT.WEIGHTS" if part == "mit" else "MODEL.WEIGHTS"
    print(f"wrote {arguments.target}: {len(converted)} tensors; use it as {key}")


if __name__ == "__main__":
    main()
