"""Sample k of a domain, a function of (seed, domain, k) alone."""

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from .draws import draw_index
from .layouts import DatasetDict
from .mappers import RequiredClass, SourceMapper, TargetMapper
from .rare_class import RareClassSampler

_SOURCE, _TARGET = 0, 1  # what tells the random streams of the two domains apart

Sample = dict[str, Any]


class SourceStream:
    """Sample k of the source domain: its image drawn by rare-class sampling or uniformly.

    Args:
        dataset_dicts: the labelled images.
        mapper: reads and crops one.
        seed: of the whole stream.
        sampler: chooses class and image; ``None`` = uniform with replacement.
        min_crop_pixels: a crop must hold more pixels of the drawn class.
        weights: (M,) how often each image is drawn without a sampler; ``None`` = alike.
        joined: a few labelled target images, which take the place of a sample ...
        share: ... with this probability.
    """

    def __init__(
        self,
        dataset_dicts: list[DatasetDict],
        mapper: SourceMapper,
        seed: int,
        sampler: RareClassSampler | None,
        min_crop_pixels: float,
        *,
        weights: ndarray | None = None,
        joined: "SourceStream | None" = None,
        share: float = 0.0,
    ) -> None:
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper
        self.seed = seed
        self.sampler = sampler
        self.min_crop_pixels = min_crop_pixels
        self.weights = weights
        self.joined = joined
        self.share = share

    def __getitem__(self, k: int) -> Sample:
        return self.draw(_generator(self.seed, _SOURCE, k))

    def draw(self, rng: Generator) -> Sample:
        """A sample of which everything is drawn from ``rng``."""
        if self.joined is not None and rng.random() < self.share:
            return self.joined.draw(rng)
        if self.sampler is None:
            index = draw_index(rng, self.weights, len(self.dataset_dicts))
            return self.mapper(self.dataset_dicts[index], rng)
        train_id, index = self.sampler.draw(rng)
        wanted = self.min_crop_pixels * self.sampler.lowered.get(train_id, 1.0)
        required = RequiredClass(train_id, wanted)
        return self.mapper(self.dataset_dicts[index], rng, required)


class TargetStream:
    """Sample k of the target domain, with replacement.

    Args:
        dataset_dicts: the images.
        mapper: reads and crops one.
        seed: of the whole stream.
        weights: (M,) how often each image is drawn; ``None`` = alike.
    """

    def __init__(
        self,
        dataset_dicts: list[DatasetDict],
        mapper: TargetMapper,
        seed: int,
        weights: ndarray | None = None,
    ) -> None:
        self.weights = weights
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper
        self.seed = seed

    def __getitem__(self, k: int) -> Sample:
        rng = _generator(self.seed, _TARGET, k)
        index = draw_index(rng, self.weights, len(self.dataset_dicts))
        return self.mapper(self.dataset_dicts[index], rng)


def _generator(seed: int, domain: int, k: int) -> Generator:
    return np.random.default_rng([seed, domain, k])
