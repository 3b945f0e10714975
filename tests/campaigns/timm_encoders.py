"""Every encoder of timm: the sizes that it takes, or the one line that refuses it.

python tests/campaigns/timm_encoders.py [--each N] [PATTERN ...]     e.g. --each 2, or 'swin*'

Built and run on torch's meta device, so that size does not matter: a second or more for each of
timm's 1400 names, and no error but ``InputError`` is accepted. --each N takes the N smallest of
each file of timm's (roughly: of each architecture).
"""

import argparse
import collections
import sys
import warnings

import timm
import torch
from timm.models import _registry

from copt_d2.errors import InputError
from copt_d2.modeling import TimmBackbone

SIZES = ((64, 96), (270, 480), (135, 101), (1, 1), (33, 500))


def chosen(patterns, each):
    names = sorted({name for pattern in patterns or ["*"] for name in timm.list_models(pattern)})
    if not each:
        return names
    files = collections.defaultdict(list)
    for name in names:
        files[_registry._model_to_module[name]].append(name)
    small = ("test_", "nano", "atto", "femto", "pico", "xxs", "tiny", "mini", "small", "_s", "b0")
    first = {name: next((n for n, s in enumerate(small) if s in name), 99) for name in names}
    return [name for group in files.values() for name in sorted(group, key=first.get)[:each]]


def build(name):
    try:
        with torch.device("meta"):
            return TimmBackbone(name)
    except InputError:
        raise
    except Exception:  # some look at values while they are built
        return TimmBackbone(name).to("meta")


def judge(name):
    """What is said of a name: "takes ..." or "refused: ..."."""
    try:
        backbone = build(name).eval()
    except InputError as error:
        if "\n" in str(error):
            raise ValueError("several lines") from error
        return f"refused: {error}"
    sizes = backbone._sizes
    for size in SIZES:
        try:
            with torch.no_grad():
                maps = backbone(torch.empty(1, 3, *size, device="meta"))
        except InputError:
            if sizes.only is None:
                raise
            continue
        for stage, shape in backbone.output_shape().items():
            for found, side in zip(maps[stage].shape[2:], size, strict=True):
                assert abs(found - side / shape.stride) <= 1, (stage, size, maps[stage].shape)
    if sizes.only is not None:
        return f"takes up to {sizes.only[0]}x{sizes.only[1]}"
    return f"takes all, padded to multiples of {sizes.multiple}, at least {sizes.least}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--each", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    counts = collections.Counter()
    for name in chosen(arguments.patterns, arguments.each):
        try:
            verdict = judge(name)
        except Exception as error:
            verdict = f"TRACEBACK: {type(error).__name__}: {' '.join(str(error).split())}"
        counts[verdict.split()[0]] += 1
        print(f"{name:40s} {verdict[:300]}", flush=True)
    print(dict(counts))
    return int("TRACEBACK:" in counts)


if __name__ == "__main__":
    sys.exit(main())
