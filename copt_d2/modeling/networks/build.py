"""The network that a config describes."""

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_backbone

from ...errors import InputError
from ..heads import DAFormerHead
from .encoder_decoder import EncoderDecoder
from .hrda import HRDA


def build_segmentation_network(cfg: CfgNode) -> EncoderDecoder | HRDA:
    """The student.

    Raises:
        InputError: if the config names an encoder or head that is not registered.
    """
    for key, name, registry in (
        ("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY),
        ("MODEL.SEM_SEG_HEAD.NAME", cfg.MODEL.SEM_SEG_HEAD.NAME, SEM_SEG_HEADS_REGISTRY),
    ):
        if name not in registry:
            known = ", ".join(sorted(registered for registered, _ in registry))
            raise InputError(f"{key} {name!r} is not registered; there are: {known}")
    backbone = build_backbone(cfg)
    shapes = backbone.output_shape()
    head = SEM_SEG_HEADS_REGISTRY.get(cfg.MODEL.SEM_SEG_HEAD.NAME)(cfg, shapes)
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
