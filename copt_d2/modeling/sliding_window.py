"""Window boxes and the average of overlapping logits. Knows no model."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..structures import Box


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis; the last window is moved back to the border.

    The number of windows is max(size - window + stride - 1, 0) // stride + 1.
    """
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride, size - window), 0) for index in range(count)]


def window_boxes(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> list[Box]:
    """Boxes of the windows over an image of ``size`` (h, w), row by row, clipped to the image."""
    (height, width), (window_h, window_w) = size, window
    return [
        (y, min(y + window_h, height), x, min(x + window_w, width))
        for y in window_starts(height, window_h, stride[0])
        for x in window_starts(width, window_w, stride[1])
    ]


def predict_windows(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    window: tuple[int, int],
    stride: tuple[int, int],
    *,
    window_batch: int = 1,
    output_stride: int = 1,
) -> Tensor:
    """Averages the logits of overlapping windows, each window with the same weight (HRDA's
    whole-image test).

    ``window_batch`` windows are in memory at a time, so memory does not grow with their number.

    Args:
        predict: (B, 3, h, w) windows -> (B, K, h / output_stride, w / output_stride) logits; B is
            at most N * window_batch.
        images: (N, 3, H, W).
        window: (h, w) of a window; an image smaller than it is predicted at once.
        stride: (h, w) step between windows.
        window_batch: windows of each image that are predicted at a time.
        output_stride: image pixels per logit; it must divide all window borders.
    Returns:
        (N, K, H / output_stride, W / output_stride) averaged logits.
    Raises:
        ValueError: if a stride is not positive or larger than its window: pixels would be left out.
    """
    if not all(0 < step <= side for step, side in zip(stride, window, strict=True)):
        raise ValueError(f"a stride lies between 1 and the window {window}, not {stride}")
    height, width = images.shape[-2:]
    boxes = window_boxes((height, width), window, stride)
    total, count = None, None
    for first in range(0, len(boxes), window_batch):
        chunk = boxes[first : first + window_batch]
        crops = [images[:, :, y1:y2, x1:x2] for y1, y2, x1, x2 in chunk]
        logits = predict(torch.cat(crops) if len(crops) > 1 else crops[0])
        if total is None:
            size = (height // output_stride, width // output_stride)
            total = logits.new_zeros(len(images), logits.shape[1], *size)
            count = images.new_zeros(1, 1, *size)
        for box, part in zip(chunk, logits.split(len(images)), strict=True):
            y1, y2, x1, x2 = (border // output_stride for border in box)
            total[:, :, y1:y2, x1:x2] += part
            count[:, :, y1:y2, x1:x2] += 1
    return total / count
