"""What the losses on encoder features have in common, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import Backbone
from detectron2.utils.registry import Registry
from torch import Tensor, nn

from ...errors import InputError
from ...structures import SegOutput

LOSS_REGISTRY = Registry("LOSS")
LOSS_REGISTRY.__doc__ = """
Losses on encoder features, listed by name in ``MODEL.UDA.FEATURE_LOSSES`` (source pass) and
``MODEL.UDA.TARGET_FEATURE_LOSSES``. A registered class is a ``FeatureLoss`` whose constructor is
detectron2-configurable: ``Loss(cfg, encoder=encoder)``.
"""


class FeatureLoss(nn.Module, ABC):
    """A loss on what a segmentation network returns for labelled images.

    Attributes:
        key: short name; the loss is logged as ``loss_<phase>_<key>``.
        features_suffice: true in a loss that reads no logits, without which the target pass of
            such losses does (`UDASegmentor.target_losses`).
    """

    key: str
    features_suffice = False

    @abstractmethod
    def on_output(self, output: SegOutput, labels: Tensor) -> Tensor:
        """The weighted loss.

        Args:
            output: what the student returned, with ``features`` and ``images``.
            labels: (N, H, W) int64 train ids at the size of the network's input, 255 = ignored.

        Returns:
            () float32.
        """


def build_feature_losses(
    cfg: CfgNode, *, encoder: Backbone, option: str = "FEATURE_LOSSES"
) -> nn.ModuleDict:
    """The losses of a list of the config by key, in that order.

    Args:
        cfg: full config.
        option: name of the list below ``MODEL.UDA``.
        encoder: the student's, with its initial (ImageNet) weights. Its channel count is read; a
            loss that compares with it keeps a frozen copy.

    Returns:
        name -> ``FeatureLoss``.

    Raises:
        InputError: for a name that is not registered, or one that stands twice.
    """
    losses = nn.ModuleDict()
    for name in cfg.MODEL.UDA[option]:
        if name not in LOSS_REGISTRY:
            known = ", ".join(sorted(registered for registered, _ in LOSS_REGISTRY))
            raise InputError(f"MODEL.UDA.{option}: unknown loss {name!r}; use some of: {known}")
        loss = LOSS_REGISTRY.get(name)(cfg, encoder=encoder)
        if loss.key in losses:
            raise InputError(f"MODEL.UDA.{option}: {name!r} stands twice; remove one")
        losses[loss.key] = loss
    return losses


def training_metadata(cfg: CfgNode, field: str, key: str) -> Sequence:
    """A field of the first training data set's metadata, the default of config key ``key``.

    Raises:
        InputError: if there is no training data set, or its metadata lacks the field.
    """
    if not cfg.DATASETS.TRAIN:
        raise InputError(
            f"{key} is empty and DATASETS.TRAIN names no data set to take it from; set one"
        )
    name = cfg.DATASETS.TRAIN[0]
    found = MetadataCatalog.get(name).get(field, None)
    if found is None:
        raise InputError(f"{key} is empty and data set {name!r} has no {field}; set {key}")
    return found


def require_map(encoder: Backbone, name: str, loss: str) -> None:
    """Looks whether an encoder has the feature map ``name``, which the class ``loss`` reads.

    Raises:
        InputError: if it has not.
    """
    maps = encoder.output_shape()
    if name not in maps:
        raise InputError(
            f"{loss} looks at the feature map {name!r}, but the encoder has {', '.join(maps)}: "
            f"remove {loss} from the feature losses of MODEL.UDA, or set MODEL.BACKBONE.NAME"
        )
