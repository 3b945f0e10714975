"""Crops that fit own images, and the thresholds of rare classes that fit the crops."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from ..data.datasets import target_images
from ..data.geometry import Size, resized_size
from ..data.reading import image_size

logger = logging.getLogger("copt_d2.own_data")
LOOKED_AT = 16  # images of a data set whose sizes are read
STEP = 32  # sides of a crop that has been made smaller are multiples, as encoders want them
# DAFormer's threshold is that of HRDA's crops: 3000 pixels of 1024x1024
RARE_SHARE = 3000 / 1024**2


def fit_sizes(cfg: CfgNode, chosen: Mapping[str, str]) -> None:
    """Lowers INPUT.CROP.SIZE to what most images have after the resize, and sets
    DATALOADER.RARE_CLASS.MIN_PIXELS, unless chosen, in proportion to the crop.

    Args:
        cfg: changed in place; its data sets are registered.
        chosen: keys that files and the command line have set.
    Raises:
        InputError: for an image that cannot be read.
    """
    crop = tuple(cfg.INPUT.CROP.SIZE)
    sizes = list(_middle_sizes(cfg))
    shown = tuple(min(size[side] for size in sizes) for side in (0, 1)) if sizes else crop
    fitting = tuple(_fitted(*sides) for sides in zip(crop, shown, strict=True))
    if fitting != crop:
        logger.info(
            "INPUT.CROP.SIZE is %s (height, width), and images are %s after the resize: crops are "
            "%s",
            *(crop, shown, fitting),
        )
        cfg.INPUT.CROP.SIZE = list(fitting)
        if cfg.MODEL.HRDA.ENABLED:  # details are of half the side, as those of the paper
            detail = max(16, min(fitting) // 2 // 16 * 16)
            cfg.MODEL.HRDA.CROP_SIZE = min(cfg.MODEL.HRDA.CROP_SIZE, detail)
        cfg.MODEL.UDA.MASK_BLOCK_SIZE = min(cfg.MODEL.UDA.MASK_BLOCK_SIZE, min(fitting))
    if "DATALOADER.RARE_CLASS.MIN_PIXELS" not in chosen:
        pixels = cfg.INPUT.CROP.SIZE[0] * cfg.INPUT.CROP.SIZE[1]
        cfg.DATALOADER.RARE_CLASS.MIN_PIXELS = round(RARE_SHARE * pixels)


def _fitted(side: int, shown: int) -> int:
    """A side of the crop: the whole of a smaller image, less what is left of a step."""
    if shown >= side:
        return side
    return max(STEP, shown // STEP * STEP)


def _middle_sizes(cfg: CfgNode) -> Iterator[Size]:
    """(h, w) of most images of each data set after the resize; single small ones are padded."""
    for key, resize, list_images in (
        ("TRAIN", cfg.INPUT.SOURCE_RESIZE, DatasetCatalog.get),
        ("TARGET_LABELED", cfg.INPUT.TARGET_RESIZE, DatasetCatalog.get),
        ("TARGET", cfg.INPUT.TARGET_RESIZE, target_images),
    ):
        for name in cfg.DATASETS[key]:
            entries = _spread(list_images(name))
            sizes = [
                resized_size(image_size(entry["file_name"]), tuple(resize)) for entry in entries
            ]
            yield tuple(int(np.median(side)) for side in zip(*sizes, strict=True))


def _spread(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    places = np.linspace(0, len(entries) - 1, min(LOOKED_AT, len(entries)))
    return [entries[place] for place in places.astype(int)]
