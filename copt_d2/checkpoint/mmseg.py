"""Checkpoints of the DAFormer, HRDA, MIC and CoPT authors -> keys of our networks. Dicts only."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from .mit import convert_mit

logger = logging.getLogger("copt_d2.checkpoint")

PARTS = ("model", "ema_model")
# theirs -> ours; the first that fits counts
PREFIXES = (
    ("backbone.", "backbone."),
    ("decode_head.scale_attention.", "attention_head."),
    ("decode_head.head.", "sem_seg_head."),
    ("decode_head.", "sem_seg_head."),
)
# what PiPa and SePiCo files hold beside the segmentation network
EXTRAS = ("cls_head.", "proj_head.", "auxiliary_head.", "project.", "classifier.")


def is_released(state_dict: Mapping[str, Any]) -> bool:
    """Whether these are keys of the authors' code, which has a ``decode_head``."""
    return any("decode_head." in key for key in _unwrapped(state_dict))


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
    if part not in PARTS:
        raise ValueError(f"part {part!r}; there are {', '.join(PARTS)}")
    found = _part(state_dict, part)
    converted: dict[str, Tensor] = {}
    unknown = []
    bare = [key.removeprefix("module.") for key in _unwrapped(state_dict)]
    beside = [key for key in bare if key.startswith(EXTRAS)]
    extras = dict.fromkeys([*beside, *(key for key in found if _is_extra(key))])
    for key in extras:
        logger.info("left out, no part of the segmentation network: %s", key)
    for key, value in found.items():
        if key in extras:
            continue
        ours = next((new + key[len(old) :] for old, new in PREFIXES if key.startswith(old)), None)
        if ours is None:
            unknown.append(f"{part}.{key}")
        else:
            converted[ours] = value
    encoder = _below(converted, "backbone.")
    convert_mit(encoder)  # says what is missing or unknown there
    heads = ["sem_seg_head."]
    if _below(converted, "attention_head."):
        heads.append("attention_head.")
    missing = []
    for head in heads:
        inside = _below(converted, head)
        expected = set(_head_names("conv" if "fuse_layer.conv.weight" in inside else "sep_aspp"))
        missing += [head + name for name in sorted(expected - set(inside))]
        unknown += [head + name for name in sorted(set(inside) - expected)]
    if missing or unknown:
        raise KeyError(f"released checkpoint, part {part}: missing {missing}, unknown {unknown}")
    return converted


def _is_extra(key: str) -> bool:
    return any(f".{name}" in f".{key}" for name in EXTRAS)


def _part(state_dict: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """The entries of one network without their prefix."""
    bare = {key.removeprefix("module."): v for key, v in _unwrapped(state_dict).items()}
    found = _below(bare, f"{part}.")
    if found:
        return found
    if part == "model" and any(key.startswith("backbone.") for key in bare):
        return bare
    first = next(iter(bare), "nothing")
    raise KeyError(f"released checkpoint: no key begins with '{part}.'; the first is {first!r}")


def _unwrapped(state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
    """What lies under ``state_dict`` and ``model``, where there are such."""
    for wrapper in ("state_dict", "model"):
        inner = state_dict.get(wrapper)
        state_dict = inner if isinstance(inner, Mapping) else state_dict
    return state_dict


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


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
