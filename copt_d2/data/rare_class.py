"""Rare-class sampling of source images (DAFormer, Hoyer et al., CVPR 2022)."""

from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

from ..errors import InputError
from .class_presence import source_pixels, tell_absent_classes
from .layouts import DatasetDict


def class_probabilities(
    pixel_counts: Sequence[float] | ndarray | Tensor, temperature: float
) -> ndarray:
    """Probability of each class, P(c) = softmax_c((1 - f_c) / T), f_c its share of all pixels.

    Args:
        pixel_counts: (K,) pixels of each class over the data set, in any order, >= 0.
        temperature: T > 0; the smaller, the more the rare classes are preferred.
    Returns:
        (K,) float64, in the order of the counts, sum 1; exactly 0 for a class that does not occur.
    Raises:
        ValueError: if the counts are negative or all 0, or the temperature is not positive.
    """
    counts = np.asarray(pixel_counts, dtype=np.float64)
    if counts.ndim != 1 or not (counts >= 0).all() or not counts.sum() > 0:
        raise ValueError(f"pixel_counts must be K numbers >= 0, not all 0, not {pixel_counts}")
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, not {temperature}")
    rarity = -counts / counts.sum() / temperature  # the 1 of (1 - f) cancels
    weights = np.where(counts > 0, np.exp(rarity - rarity[counts > 0].max()), 0.0)
    return weights / weights.sum()


class RareClassSampler:
    """Draws a class by its rarity, then an image that shows enough of it.

    Args:
        pixels: (M, K) int64, pixels of each train id in each of M images at stored size.
        temperature: see `class_probabilities`.
        min_pixels: an image is drawn for a class only if it has more pixels of it.
        class_names: K names, for messages.
    Raises:
        InputError: if a class that occurs has no such image.
    """

    def __init__(
        self, pixels: ndarray, temperature: float, min_pixels: int, class_names: Sequence[str]
    ) -> None:
        totals = pixels.sum(axis=0)
        if not totals.any():
            raise InputError("no label file of DATASETS.TRAIN has a pixel of any class")
        # rarest first, as DAFormer lists them; this fixes which draw gives which class
        self.classes = [int(c) for c in np.argsort(totals, kind="stable") if totals[c] > 0]
        self.images = {c: np.flatnonzero(pixels[:, c] > min_pixels) for c in self.classes}
        for c in self.classes:
            if not len(self.images[c]):
                raise InputError(
                    f"class '{class_names[c]}' has no source image with more than {min_pixels} "
                    f"pixels (the most is {pixels[:, c].max()}): lower "
                    "DATALOADER.RARE_CLASS.MIN_PIXELS"
                )
        self.probabilities = class_probabilities(totals[self.classes], temperature)
        self._cumulated = np.cumsum(self.probabilities)

    def draw(self, rng: Generator) -> tuple[int, int]:
        """Draws (train id, index of an image)."""
        position = np.searchsorted(
            self._cumulated, rng.random() * self._cumulated[-1], side="right"
        )
        train_id = self.classes[min(int(position), len(self.classes) - 1)]
        candidates = self.images[train_id]
        return train_id, int(candidates[rng.integers(len(candidates))])


def build_rare_class_sampler(
    cfg: CfgNode, dataset_dicts: list[DatasetDict], tell: bool = True
) -> RareClassSampler:
    """The sampler over all label files of DATASETS.TRAIN.

    Args:
        cfg: DATASETS.TRAIN and DATALOADER.RARE_CLASS are read.
        dataset_dicts: the source images, as `datasets_named` lists them.
        tell: whether a warning names the classes without a pixel.
    Raises:
        InputError: for statistics of other data, or a class without a suitable image.
    """
    keys = cfg.DATALOADER.RARE_CLASS
    if keys.TEMPERATURE <= 0:
        raise InputError(f"DATALOADER.RARE_CLASS.TEMPERATURE is {keys.TEMPERATURE}; it must be > 0")
    pixels = source_pixels(cfg, dataset_dicts)
    if tell:
        tell_absent_classes(cfg, pixels.sum(axis=0))
    names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
    return RareClassSampler(pixels, keys.TEMPERATURE, keys.MIN_PIXELS, names)
