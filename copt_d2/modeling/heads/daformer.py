"""The context-aware decoder of DAFormer (Hoyer et al., CVPR 2022, Section 3.2)."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ..losses import cross_entropy


def resize_to_first(maps: Sequence[Tensor]) -> list[Tensor]:
    """Bilinear resizing of every map to the height and width of the first."""
    size = maps[0].shape[-2:]
    resized = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in maps[1:]]
    return [maps[0], *resized]


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU; padded so that the size stays."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            *(inputs, outputs, kernel),
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(outputs)
        # fan_out here is C_out * k * k, not divided by the groups
        std = (2.0 / (outputs * kernel * kernel)) ** 0.5
        nn.init.normal_(self.conv.weight, 0.0, std)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class SeparableConv(nn.Module):
    """Dilated depth-wise 3x3 and point-wise 1x1 convolution, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvBNReLU(inputs, inputs, 3, dilation=dilation, groups=inputs)
        self.pointwise_conv = ConvBNReLU(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        return self.pointwise_conv(self.depthwise_conv(x))


class PixelLinear(nn.Module):
    """The same linear map at every pixel, its weight stored as a matrix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        return self.proj(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SepASPP(nn.Module):
    """Parallel separable convolutions at several dilations, concatenated and reduced; no image
    pooling.
    """

    def __init__(self, inputs: int, outputs: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.aspp_modules = nn.ModuleList(
            ConvBNReLU(inputs, outputs, 1) if d == 1 else SeparableConv(inputs, outputs, d)
            for d in dilations
        )
        self.bottleneck = ConvBNReLU(outputs * len(dilations), outputs, 3)

    def forward(self, maps: Sequence[Tensor], embed_layers: Sequence[PixelLinear]) -> Tensor:
        """Maps and the embedding of each -> (N, outputs, h, w) at the size of the first."""
        embedded = [embed(x) for x, embed in zip(maps, embed_layers, strict=True)]
        x = torch.cat(resize_to_first(embedded), dim=1)
        return self.bottleneck(torch.cat([module(x) for module in self.aspp_modules], dim=1))


class PointwiseFusion(ConvBNReLU):
    """1x1 convolution of the embedded, resized, concatenated maps, then batch norm and ReLU.

    Embedding, resizing and a 1x1 convolution are linear and commute: each map passes one
    convolution with the product of both matrices, at its own size. The result is the same for a
    small part of the work.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, maps: Sequence[Tensor], embed_layers: Sequence[PixelLinear]) -> Tensor:
        """Maps and the embedding of each -> (N, outputs, h, w) at the size of the first."""
        widths = [embed.proj.out_features for embed in embed_layers]
        parts = []
        for x, embed, fuse in zip(
            maps, embed_layers, self.conv.weight[:, :, 0, 0].split(widths, dim=1), strict=True
        ):
            weight, bias = fuse @ embed.proj.weight, fuse @ embed.proj.bias
            parts.append(F.conv2d(x, weight[:, :, None, None], bias))
        fused, *others = resize_to_first(parts)
        for other in others:
            fused += other
        return F.relu(self.bn(fused), inplace=True)


@SEM_SEG_HEADS_REGISTRY.register()
class DAFormerHead(nn.Module):
    """Embeds four feature maps, fuses them at the size of the first and classifies each pixel.

    ``layers`` is the network; ``forward`` follows detectron2's heads, so that the stock
    ``SemanticSegmentor`` can hold it.
    """

    ignore_value = 255  # ``SemanticSegmentor`` pads labels with it

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        channels: int = 256,
        fusion: str = "sep_aspp",
        dilations: Sequence[int] = (1, 6, 12, 18),
        dropout: float = 0.1,
    ) -> None:
        """Args:
            input_shape: name -> channels and stride of each map, finest first.
            num_classes: K.
            channels: width of embeddings and fusion.
            fusion: "sep_aspp" (DAFormer), or "conv": one 1x1 convolution (HRDA's scale attention).
            dilations: of the sep-ASPP branches; 1 stands for a 1x1 convolution.
            dropout: probability of dropping a channel before the classifier.
        Raises:
            InputError: if ``fusion`` is unknown.
        """
        super().__init__()
        self.in_features = list(input_shape)
        self.stride = min(shape.stride for shape in input_shape.values())
        widths = [shape.channels for shape in input_shape.values()]
        self.embed_layers = nn.ModuleList(PixelLinear(width, channels) for width in widths)
        fused = channels * len(widths)
        if fusion == "sep_aspp":
            self.fuse_layer = SepASPP(fused, channels, dilations)
        elif fusion == "conv":
            self.fuse_layer = PointwiseFusion(fused, channels)
        else:
            raise InputError(f"MODEL.SEM_SEG_HEAD.FUSION is 'sep_aspp' or 'conv', not {fusion!r}")
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, 0.0, 0.01)
        nn.init.zeros_(self.conv_seg.bias)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Reads MODEL.SEM_SEG_HEAD."""
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {name: input_shape[name] for name in head.IN_FEATURES},
            "num_classes": head.NUM_CLASSES,
            "channels": head.CONVS_DIM,
            "fusion": head.FUSION,
            "dilations": head.DILATIONS,
            "dropout": head.DROPOUT,
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Maps of ``in_features`` -> logits (N, K, h, w) at the size of the first map."""
        maps = [features[name] for name in self.in_features]
        return self.conv_seg(self.dropout(self.fuse_layer(maps, self.embed_layers)))

    def forward(
        self, features: dict[str, Tensor], targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """detectron2's head interface: (None, losses) in training, (logits at image size, {})
        otherwise.
        """
        logits = self.layers(features)
        if self.training:
            return None, {"loss_sem_seg": cross_entropy(logits, targets)}
        scale = self.stride
        return F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False), {}
