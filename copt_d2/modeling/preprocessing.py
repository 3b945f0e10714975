"""From the mappers' uint8 dicts to normalised, padded batches."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn
from torch.nn import functional as F

from ..structures import DomainBatch

IGNORED = 255

logger = logging.getLogger("copt_d2.data")


class ImagePreprocessor(nn.Module):
    """Holds the normalisation; pads right and below: images with 0 after it, labels with 255, valid
    with 0. The first padded image is told of.
    """

    @configurable
    def __init__(self, mean: Sequence[float], std: Sequence[float], size: tuple[int, int]) -> None:
        """Args:
        mean: per channel, on the 0..255 scale, in the channel order of the images (RGB).
        std: the same.
        size: (h, w) of the training crops.
        """
        super().__init__()
        self.size = tuple(size)
        self.has_told_of_padding = False
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads MODEL.PIXEL_MEAN, MODEL.PIXEL_STD and INPUT.CROP.SIZE."""
        return {
            "mean": cfg.MODEL.PIXEL_MEAN,
            "std": cfg.MODEL.PIXEL_STD,
            "size": cfg.INPUT.CROP.SIZE,
        }

    def normalise(self, images: Tensor) -> Tensor:
        """(..., 3, h, w) uint8 or float on the 0..255 scale -> float32, (x - mean) * (1 / std)."""
        return (images.float() - self.mean) * (1 / self.std)

    def _pad(self, image: Tensor, value: int) -> Tensor:
        height, width = image.shape[-2:]
        return F.pad(image, (0, self.size[1] - width, 0, self.size[0] - height), value=value)

    def _stack(self, samples: Sequence[dict[str, Any]], key: str, value: int) -> Tensor | None:
        """Pads and stacks one field; ``None`` if the samples do not have it."""
        if not all(key in sample for sample in samples):
            return None
        fields = torch.stack([self._pad(sample[key], value) for sample in samples])
        return fields.to(self.mean.device, non_blocking=True)

    def batch(self, samples: Sequence[dict[str, Any]]) -> DomainBatch | None:
        """Mapper dicts ("image" and perhaps "sem_seg", "valid", uint8) -> batch; ``None`` without
        samples.
        """
        if not samples:
            return None
        self._tell_of_padding(samples)
        device = self.mean.device
        images = [self.normalise(s["image"].to(device, non_blocking=True)) for s in samples]
        labels = self._stack(samples, "sem_seg", IGNORED)
        return DomainBatch(
            images=torch.stack([self._pad(image, 0) for image in images]),
            labels=None if labels is None else labels.long(),
            valid=self._stack(samples, "valid", 0),
        )

    def _tell_of_padding(self, samples: Sequence[dict[str, Any]]) -> None:
        """Once: a crop that is larger than most images wastes work and hides pixels."""
        if self.has_told_of_padding:
            return
        full = self.size[0] * self.size[1]
        for sample in samples:
            height, width = sample["image"].shape[-2:]
            if height * width == full:
                continue
            self.has_told_of_padding = True
            resize = "INPUT.SOURCE_RESIZE" if "sem_seg" in sample else "INPUT.TARGET_RESIZE"
            logger.warning(
                "INPUT.CROP.SIZE %s (height, width) is larger than %s, of which %s are left after "
                "%s and INPUT.SCALE_RANGE: %.1f %% of the pixels are padding, which is ignored; "
                "lower the first or raise the second (other images are not told of)",
                *(self.size, sample.get("file_name", "an image"), (height, width), resize),
                100 * (1 - height * width / full),
            )
            return
