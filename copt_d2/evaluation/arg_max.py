"""The class of each pixel, from logits that are numbers."""

from torch import Tensor

from ..errors import InputError


def predicted_classes(logits: Tensor, image: str) -> Tensor:
    """The arg-max of the logits of an image; of NaN there is none, though torch would give one.

    Args:
        logits: (K, H, W) float.
        image: file, for the message.
    Returns:
        (H, W) int64 on the device of ``logits``, train ids.
    Raises:
        InputError: if the largest logit of a pixel is NaN or infinite.
    """
    largest, classes = logits.max(dim=0)
    broken = ~largest.isfinite()
    if broken.any():
        raise InputError(
            f"the logits of {image} are NaN or infinite at {int(broken.sum())} of "
            f"{broken.numel()} pixels: no class can be predicted; use other weights, or look at "
            "that image and at MODEL.PIXEL_STD"
        )
    return classes
