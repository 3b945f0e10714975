"""Checkpoints of the DAFormer, HRDA, MIC and CoPT authors -> keys of our networks. Dicts only."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from .mit import mit_names

logger = logging.getLogger("copt_d2.checkpoint")

PARTS = ("model", "ema_model")
MOST = 10  # keys in a message
AROUND = "module."  # what torch's DistributedDataParallel puts before all keys
# theirs -> ours; the first that fits counts
PREFIXES = (
    ("backbone.", "backbone."),
    ("decode_head.scale_attention.", "attention_head."),
    ("decode_head.head.", "sem_seg_head."),
    ("decode_head.", "sem_seg_head."),
)
# what PiPa and SePiCo files hold beside the segmentation network
EXTRAS = ("cls_head.", "proj_head.", "auxiliary_head.", "project.", "classifier.")


def has_released_names(keys: Iterable[str]) -> bool:
    """Whether these are keys of the authors' code, which has a ``decode_head``."""
    return any("decode_head." in key for key in keys)


def convert_mmseg(state_dict: Mapping[str, Any], part: str = "model") -> dict[str, Tensor]:
    """A released UDA checkpoint -> the keys of ``build_segmentation_network(cfg).state_dict()``.

    Args:
        state_dict: with the prefixes ``model.``, ``ema_model.`` and ``imnet_model.``, bare or
            under ``state_dict``; or of one network alone (``backbone.``, ``decode_head.``).
        part: "model", the student, or "ema_model", the teacher.
    Returns:
        The values of that part: of a ``HRDA`` if it has a scale attention, else of an
        ``EncoderDecoder``.
    Raises:
        ValueError: for another part.
        KeyError: naming the keys that are missing or have no place in our networks.
    """
    state = _unwrapped(state_dict)
    return {ours: state[key] for ours, key in mmseg_names(state, part).items()}


def mmseg_names(keys: Iterable[str], part: str = "model") -> dict[str, str]:
    """The names of our networks -> the keys of a released UDA checkpoint; see `convert_mmseg`.

    Raises:
        KeyError: naming the keys, as they stand there, that are missing or have no place.
    """
    if part not in PARTS:
        raise ValueError(f"part {part!r}; there are {', '.join(PARTS)}")
    keys = list(keys)
    before, found = _part(keys, part)
    beside = [key for key in keys if key.removeprefix(AROUND).startswith(EXTRAS)]
    extras = dict.fromkeys([*beside, *(key for name, key in found.items() if _is_extra(name))])
    for key in extras:
        logger.info("left out, no part of the segmentation network: %s", key)
    names: dict[str, str] = {}
    unknown = []
    for name, key in found.items():
        if key in extras:
            continue
        ours = next((new + name[len(old) :] for old, new in PREFIXES if name.startswith(old)), None)
        if ours is None:
            unknown.append(key)
        else:
            names[ours] = key
    mit_names(_below(names, "backbone."))  # says what is missing or unknown there
    inner = "decode_head.head." if _below(names, "attention_head.") else "decode_head."
    theirs = {"sem_seg_head.": inner, "attention_head.": "decode_head.scale_attention."}
    missing = []
    for head in [h for h in theirs if h == "sem_seg_head." or _below(names, h)]:
        inside = _below(names, head)
        expected = set(_head_names("conv" if "fuse_layer.conv.weight" in inside else "sep_aspp"))
        missing += [before + theirs[head] + name for name in sorted(expected - set(inside))]
        unknown += [inside[name] for name in sorted(set(inside) - expected)]
    if missing or unknown:
        told = f"missing {_shown(missing)}, unknown {_shown(unknown)}"
        raise KeyError(f"released checkpoint, part {part}: {told}")
    return names


def _shown(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST} more" if len(keys) > MOST else ""
    return f"{keys[:MOST]}{more}"


def _is_extra(key: str) -> bool:
    return any(f".{name}" in f".{key}" for name in EXTRAS)


def _part(keys: Sequence[str], part: str) -> tuple[str, dict[str, str]]:
    """What stands before the keys of one network, and these without it -> the keys."""
    bare = {key.removeprefix(AROUND): key for key in keys}
    if len(bare) < len(keys):
        raise KeyError(f"released checkpoint: some keys are there with {AROUND!r} and without it")
    around = AROUND if any(key.startswith(AROUND) for key in keys) else ""
    found = _below(bare, f"{part}.")
    if found:
        return f"{around}{part}.", found
    if part == "model" and any(key.startswith("backbone.") for key in bare):
        return around, bare
    first = next(iter(keys), "nothing")
    raise KeyError(f"released checkpoint: no key begins with '{part}.'; the first is {first!r}")


def _unwrapped(state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
    """What lies under ``state_dict`` and ``model``, where there are such."""
    for wrapper in ("state_dict", "model"):
        inner = state_dict.get(wrapper)
        state_dict = inner if isinstance(inner, Mapping) else state_dict
    return state_dict


def _below(names: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: key for name, key in names.items() if name.startswith(prefix)}


def _head_names(fusion: str) -> Iterator[str]:
    """Parameter and buffer names of a DAFormer decoder."""
    for module in ("conv_seg", *(f"embed_layers.{n}.proj" for n in range(4))):
        yield from (f"{module}.weight", f"{module}.bias")
    layers = ["fuse_layer"]
    if fusion == "sep_aspp":
        branches = [f"fuse_layer.aspp_modules.{n}" for n in range(4)]
        separable = [
            f"{b}.{kind}_conv" for b in branches[1:] for kind in ("depthwise", "pointwise")
        ]
        layers = [branches[0], *separable, "fuse_layer.bottleneck"]
    for layer in layers:
        yield f"{layer}.conv.weight"
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            yield f"{layer}.bn.{name}"
