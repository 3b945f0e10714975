"""Rare-class sampling of source images (DAFormer, Hoyer et al., CVPR 2022)."""

import logging
from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

from ..errors import InputError
from .class_presence import source_pixels, tell_absent_classes
from .draws import draw_index, image_weights
from .layouts import DatasetDict

logger = logging.getLogger(__name__)


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
        weights: (M,) how often each image is drawn among those of a class; ``None`` = alike.
        lenient: whether a class without such an image is drawn from those that show most of it.
        key: of the data sets, for messages.
    Raises:
        InputError: if no class occurs; if one that occurs has no such image, unless ``lenient``.
    """

    def __init__(
        self,
        pixels: ndarray,
        temperature: float,
        min_pixels: int,
        class_names: Sequence[str],
        *,
        weights: ndarray | None = None,
        lenient: bool = False,
        key: str = "DATASETS.TRAIN",
    ) -> None:
        totals = pixels.sum(axis=0)
        if not totals.any():
            raise InputError(f"no label file of {key} has a pixel of any class")
        self.weights = weights
        # rarest first, as DAFormer lists them; this fixes which draw gives which class
        self.classes = [int(c) for c in np.argsort(totals, kind="stable") if totals[c] > 0]
        self.images = {c: np.flatnonzero(pixels[:, c] > min_pixels) for c in self.classes}
        self.lowered: dict[int, float] = {}  # train id -> share of min_pixels that it must reach
        for c in self.classes:
            if not len(self.images[c]) and lenient:
                wanted = pixels[:, c].max() // 2
                self.images[c] = np.flatnonzero(pixels[:, c] > wanted)
                self.lowered[c] = wanted / min_pixels
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
        weights = None if self.weights is None else self.weights[candidates]
        return train_id, int(candidates[draw_index(rng, weights, len(candidates))])


def build_rare_class_sampler(
    cfg: CfgNode, dataset_dicts: list[DatasetDict], tell: bool = True, key: str = "TRAIN"
) -> RareClassSampler:
    """The sampler over all label files of DATASETS.TRAIN, or of TARGET_LABELED.

    Of own data (DATASETS.FILE) and of a few labelled target images, classes of which no image shows
    MIN_PIXELS are drawn, too, from the images that show most of them.

    Args:
        cfg: DATASETS and DATALOADER.RARE_CLASS are read.
        dataset_dicts: the images, as `datasets_named` lists them.
        tell: whether a warning names the classes without a pixel.
        key: "TRAIN" or "TARGET_LABELED".
    Raises:
        InputError: for statistics of other data, or a class without a suitable image.
    """
    keys = cfg.DATALOADER.RARE_CLASS
    if keys.TEMPERATURE <= 0:
        raise InputError(f"DATALOADER.RARE_CLASS.TEMPERATURE is {keys.TEMPERATURE}; it must be > 0")
    pixels = source_pixels(cfg, dataset_dicts, key=key)
    if tell and key == "TRAIN":
        tell_absent_classes(cfg, pixels.sum(axis=0))
    sets = cfg.DATASETS[key]
    names = MetadataCatalog.get(sets[0]).stuff_classes
    sampler = RareClassSampler(
        *(pixels, keys.TEMPERATURE, keys.MIN_PIXELS, names),
        weights=image_weights(sets, dataset_dicts),
        lenient=bool(cfg.DATASETS.FILE) or key != "TRAIN",
        key=f"DATASETS.{key}",
    )
    if tell and sampler.lowered:
        logger.info(
            "no image of DATASETS.%s shows more than DATALOADER.RARE_CLASS.MIN_PIXELS %d of %s: "
            "drawn from those that show most",
            *(key, keys.MIN_PIXELS, ", ".join(repr(names[c]) for c in sorted(sampler.lowered))),
        )
    return sampler
