"""Two resolutions, fused by a learned attention (HRDA, Hoyer et al., ECCV 2022, Section 3)."""

import random

import torch
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...structures import Box, SegOutput
from ..sliding_window import predict_windows

GRID = 8  # boxes lie on the cells of the context branch's output, in image pixels
STRIDE = 4  # of the fused logits


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def half_size(images: Tensor) -> Tensor:
    """(N, 3, H, W) with even H and W -> (N, 3, H/2, W/2): the mean of 2x2 pixels."""
    return resize(images, (images.shape[-2] // 2, images.shape[-1] // 2))


def draw_box(size: tuple[int, int], crop_size: int) -> Box:
    """A box of ``crop_size`` on the grid, drawn from Python's generator; the whole image along an
    axis that is not longer.

    As in the released code, the last possible offset is never drawn.
    """
    box: list[int] = []
    for length in size:
        margin = max(length - crop_size, 0)
        start = random.randrange(max((margin + 1) // GRID, 1)) * GRID if margin else 0
        box += [start, min(start + crop_size, length)]
    return tuple(box)


def fuse(attention: Tensor, context: Tensor, detail: Tensor) -> Tensor:
    """Weighs the logits of both branches, Eq. 7 of the paper.

    Args:
        attention: (N, K, h, w) weight of the detail branch, in [0, 1].
        context: (N, K, h, w) logits.
        detail: (N, K, 2h, 2w) logits.
    Returns:
        (N, K, 2h, 2w) logits.
    """
    size = tuple(detail.shape[-2:])
    return resize(attention, size) * detail + resize((1 - attention) * context, size)


class HRDA(nn.Module):
    """Context of the whole image at half size, details of a crop at full size.

    One encoder and one decoder serve both; a second, cheap decoder says per class and pixel how
    much the details count. The crop box is a value: it goes in, or comes out in ``SegOutput.box``.
    """

    def __init__(
        self,
        backbone: Backbone,
        sem_seg_head: nn.Module,
        attention_head: nn.Module,
        *,
        crop_size: int = 512,
        window_batch: int = 32,
    ) -> None:
        """Args:
            backbone: detectron2 backbone with the outputs res2..res5.
            sem_seg_head: a head with ``layers(features) -> logits``.
            attention_head: the same, its output before the sigmoid.
            crop_size: side of the detail crop in image pixels, a multiple of 8.
            window_batch: detail crops of each image that ``predict`` encodes at a time.
        Raises:
            InputError: if ``crop_size`` or ``window_batch`` is not possible.
        """
        super().__init__()
        if crop_size < 2 * GRID or crop_size % (2 * GRID):
            raise InputError(
                f"MODEL.HRDA.CROP_SIZE is {crop_size}; it must be a multiple of {2 * GRID}"
            )
        if window_batch < 1:
            raise InputError(f"MODEL.HRDA.WINDOW_BATCH is {window_batch}; it must be 1 or more")
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.attention_head = attention_head
        self.crop_size = crop_size
        self.window_batch = window_batch

    def forward(self, images: Tensor, crop_box: Box | None = None) -> SegOutput:
        """One training pass.

        Args:
            images: (N, 3, H, W), normalised; H and W are multiples of 8.
            crop_box: the detail crop, the same for all images, on a grid of 8 pixels; ``None``
                draws one.
        Returns:
            Fused logits (N, K, H/4, W/4), the crop's logits and box, the context's features and
            images.
        Raises:
            ValueError: if a size or the box does not lie on the grid of 8 pixels.
        """
        size = tuple(images.shape[-2:])
        box = draw_box(size, self.crop_size) if crop_box is None else tuple(crop_box)
        if any(value % GRID for value in (*size, *box)):
            raise ValueError(f"image {size} and box {box} must lie on a grid of {GRID} pixels")
        y1, y2, x1, x2 = box
        output = self.encode(images)
        detail_features = self.backbone(images[:, :, y1:y2, x1:x2])
        # in this order: both update the running statistics of the decoder's norms
        context = self.sem_seg_head.layers(output.features)
        detail = self.sem_seg_head.layers(detail_features)
        attention = torch.sigmoid(self.attention_head.layers(output.features))
        inside = torch.zeros_like(attention[:, :1])
        inside[:, :, y1 // GRID : y2 // GRID, x1 // GRID : x2 // GRID] = 1
        borders = (x1, size[1] - x2, y1, size[0] - y2)  # as F.pad wants them
        whole = F.pad(detail, [border // STRIDE for border in borders])
        output.logits = fuse(attention * inside, context, whole)
        output.detail_logits, output.box = detail, box
        return output

    def encode(self, images: Tensor) -> SegOutput:
        """(N, 3, H, W), normalised, with even H and W -> the context's features and images alone,
        for losses that need no more.
        """
        context_images = half_size(images)
        return SegOutput(None, features=self.backbone(context_images), images=context_images)

    def predict(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) of any size -> logits (N, K, H, W); details of the whole image, from
        overlapping crops.
        """
        height, width = images.shape[-2:]
        # zeros beyond the right and lower border, up to the grid
        padded = F.pad(images, (0, -width % GRID, 0, -height % GRID))
        features = self.backbone(half_size(padded))
        context = self.sem_seg_head.layers(features)
        window = (self.crop_size, self.crop_size)
        detail = predict_windows(
            lambda crops: self.sem_seg_head.layers(self.backbone(crops)),
            padded,
            window,
            (self.crop_size // 2, self.crop_size // 2),
            window_batch=self.window_batch,
            output_stride=STRIDE,
        )
        attention = torch.sigmoid(self.attention_head.layers(features))
        logits = fuse(attention, context, detail)
        return resize(logits, tuple(padded.shape[-2:]))[:, :, :height, :width]
