"""How often the images of several data sets are drawn."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from detectron2.data import MetadataCatalog
from numpy import ndarray
from numpy.random import Generator

from .layouts import DatasetDict


def image_weights(names: Sequence[str], dataset_dicts: Sequence[DatasetDict]) -> ndarray | None:
    """How often each image is drawn, by the weights of its data set.

    A data set's weight is ``weight`` in its metadata; it is shared evenly by its images. Where some
    have one, the others have 1.

    Args:
        names: of the data sets.
        dataset_dicts: their M images, as `datasets_named` lists them.
    Returns:
        (M,) float64 that add up to 1; ``None`` if all are drawn alike.
    """
    given = {name: MetadataCatalog.get(name).get("weight") for name in names}
    if len(names) < 2 or all(weight is None for weight in given.values()):
        return None
    counts = Counter(entry["dataset"] for entry in dataset_dicts)
    total = sum(1.0 if weight is None else weight for weight in given.values())
    shares = {
        name: (1.0 if weight is None else weight) / total / max(counts[name], 1)
        for name, weight in given.items()
    }
    return np.array([shares[entry["dataset"]] for entry in dataset_dicts])


def draw_index(rng: Generator, weights: ndarray | None, count: int) -> int:
    """One of ``count`` positions, in proportion to (count,) weights; ``None`` = uniform."""
    if weights is None:
        return int(rng.integers(count))
    cumulated = np.cumsum(weights)
    position = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
    return min(int(position), count - 1)
