"""Window boxes and the average of overlapping logits. Knows no model."""

from collections.abc import Callable

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
) -> Tensor:
    """Averages the logits of overlapping windows, each window with the same weight (HRDA's
    whole-image test).

    One window is in memory at a time, so memory does not grow with their number.

    Args:
        predict: (N, 3, h, w) window -> (N, K, h, w) logits.
        images: (N, 3, H, W).
        window: (h, w) of a window; an image smaller than it is predicted at once.
        stride: (h, w) step between windows.
    Returns:
        (N, K, H, W) averaged logits.
    Raises:
        ValueError: if a stride is not positive or larger than its window: pixels would be left out.
    """
    if not all(0 < step <= side for step, side in zip(stride, window, strict=True)):
        raise ValueError(f"a stride lies between 1 and the window {window}, not {stride}")
    height, width = images.shape[-2:]
    total = None
    count = images.new_zeros(1, 1, height, width)
    for y1, y2, x1, x2 in window_boxes((height, width), window, stride):
        logits = predict(images[:, :, y1:y2, x1:x2])
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], height, width)
        total[:, :, y1:y2, x1:x2] += logits
        count[:, :, y1:y2, x1:x2] += 1
    return total / count
