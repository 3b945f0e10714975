"""The network that a config describes."""

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_backbone

from ...errors import InputError
from ..heads import DAFormerHead
from .encoder_decoder import EncoderDecoder
from .hrda import HRDA, STRIDE


def build_segmentation_network(cfg: CfgNode) -> EncoderDecoder | HRDA:
    """The student.

    Raises:
        InputError: if the config names an encoder or head that is not registered, or one that
            cannot be built of the other keys.
    """
    for key, name, registry in (
        ("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY),
        ("MODEL.SEM_SEG_HEAD.NAME", cfg.MODEL.SEM_SEG_HEAD.NAME, SEM_SEG_HEADS_REGISTRY),
    ):
        if name not in registry:
            known = ", ".join(sorted(registered for registered, _ in registry))
            raise InputError(f"{key} {name!r} is not registered; there are: {known}")
    backbone = _build("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, build_backbone, cfg)
    shapes = backbone.output_shape()
    stride = _finest_stride(cfg, shapes)
    head_name = cfg.MODEL.SEM_SEG_HEAD.NAME
    head = _build(
        "MODEL.SEM_SEG_HEAD.NAME", head_name, SEM_SEG_HEADS_REGISTRY.get(head_name), cfg, shapes
    )
    if getattr(head, "common_stride", stride) > stride:  # detectron2's head does not shrink maps
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {head.common_stride}; the first of "
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES has stride {stride}: lower it to that"
        )
    if not cfg.MODEL.HRDA.ENABLED:
        return EncoderDecoder(backbone, head)
    options = {**DAFormerHead.from_config(cfg, shapes), "fusion": "conv"}
    return HRDA(
        backbone,
        head,
        DAFormerHead(**options),
        crop_size=cfg.MODEL.HRDA.CROP_SIZE,
        window_batch=cfg.MODEL.HRDA.WINDOW_BATCH,
    )


def _finest_stride(cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> int:
    """Stride of the first map that the head reads, after a look at all of them."""
    names = list(cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES)
    missing = [name for name in names if name not in shapes]
    if missing:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES: {cfg.MODEL.BACKBONE.NAME} has no {missing[0]!r}; "
            f"there are {', '.join(shapes)}"
        )
    strides = [shapes[name].stride for name in names]
    if strides[0] > min(strides):
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES {names}: the finest map must come first, the logits "
            f"have its size (strides {strides})"
        )
    if cfg.MODEL.HRDA.ENABLED and strides[0] != STRIDE:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES {names}: with MODEL.HRDA.ENABLED the first map must "
            f"have stride {STRIDE}, not {strides[0]}"
        )
    return strides[0]


def _build(key: str, name: str, build: Callable[..., Any], *args: Any) -> Any:
    """A part; detectron2's own say what does not fit by assertions."""
    try:
        return build(*args)
    except InputError:
        raise
    except (AssertionError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{key} {name!r} cannot be built: {reason}") from error
