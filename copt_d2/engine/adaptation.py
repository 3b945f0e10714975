"""Whether anything is learned from the target: pixels that may be trusted, and pseudo-labels that
are.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from torch import Tensor

from ..data.datasets import target_images
from ..data.geometry import Geometry, Size, resized_size
from ..data.reading import image_size
from ..errors import InputError
from .hooks import is_due

logger = logging.getLogger("copt_d2.adaptation")
LOOKED_AT = 16  # images of a target whose sizes are read where nothing is wrong
SCALES = 33  # of INPUT.SCALE_RANGE that are tried
LONG = 2000  # iterations without a confident pixel; half of a shorter training
Margins = tuple[int, int, int, int]


def trusts_a_pixel(cfg: CfgNode, stored: Size, margins: Margins, rows: tuple[int, int]) -> bool:
    """Whether some crop of a target image has a pixel whose pseudo-label counts.

    Args:
        cfg: INPUT.TARGET_RESIZE, SCALE_RANGE and CROP.SIZE are read.
        stored: (h, w) of the image as stored.
        margins: its untrusted border, top, bottom, left, right, in stored pixels.
        rows: untrusted rows at the top and the bottom of a crop, in its pixels.
    """
    crop = cfg.INPUT.CROP.SIZE[0]
    for scale in np.unique(np.linspace(*cfg.INPUT.SCALE_RANGE, SCALES)):
        resized = resized_size(stored, tuple(cfg.INPUT.TARGET_RESIZE), scale)
        height = min(resized[0], crop)  # an image below the crop's size is padded at the bottom
        first, end = rows[0], min(height, crop - rows[1])
        if first >= end:
            continue
        # what the crop's rows first .. end - 1 show of the image, wherever the crop lies
        box = (first, resized[0] - height + end, 0, resized[1])
        shown = Geometry(stored, resized, box, flip=False)
        top, bottom, left, right = margins
        y, x = shown.source_rows(), shown.source_columns()
        inside = ((y >= top) & (y < stored[0] - bottom), (x >= left) & (x < stored[1] - right))
        if inside[0].any() and inside[1].any():
            return True
    return False


def check_trusted_pixels(cfg: CfgNode, name: str, files: Sequence[dict[str, Any]]) -> None:
    """Refuses margins and ignored rows that leave no trusted pixel of a whole target data set.

    Few sizes are read unless none of these images has such a pixel.

    Args:
        cfg: the whole config.
        name: the data set.
        files: its images.
    Raises:
        InputError: naming the keys, their values and the sizes.
    """
    untrusted = _untrusted(cfg, files)
    if not untrusted or len(untrusted) < len(_spread(files)):
        return
    margins, rows = _untrusted_borders(cfg)
    sizes = {image_size(entry["file_name"]) for entry in files}
    if not any(trusts_a_pixel(cfg, size, margins, rows) for size in sizes):
        raise InputError(f"{_in_words(cfg, untrusted[0])} of any image of {name}; lower them")


def tell_untrusted_images(cfg: CfgNode) -> None:
    """Warns if some images that were looked at have no trusted pixel, others do."""
    margins, rows = _untrusted_borders(cfg)
    if not any((*margins, *rows)):  # nothing is listed then
        return
    for name in cfg.DATASETS.TARGET:
        files = target_images(name)
        untrusted = _untrusted(cfg, files)
        if untrusted:
            logger.warning(
                "%s of this and %d more of %d images of %s: nothing is learned from them",
                *(_in_words(cfg, untrusted[0]), len(untrusted) - 1, len(_spread(files)), name),
            )


def _untrusted_borders(cfg: CfgNode) -> tuple[Margins, tuple[int, int]]:
    # all 0 where nothing of the target is learned anyway
    uda = cfg.MODEL.UDA
    learned = "mixed" in uda.PHASES or ("masked" in uda.PHASES and "target" in uda.MASK_DOMAINS)
    rows = (uda.IGNORE_TOP, uda.IGNORE_BOTTOM) if learned else (0, 0)
    margins = cfg.INPUT.VALID_MARGINS if learned or uda.TARGET_FEATURE_LOSSES else (0, 0, 0, 0)
    return tuple(margins), rows


def _spread(files: Sequence[dict[str, Any]]) -> list[int]:
    places = np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files)))
    return places.astype(int).tolist()


def _untrusted(cfg: CfgNode, files: Sequence[dict[str, Any]]) -> list[str]:
    """Those of some images that have no trusted pixel."""
    margins, rows = _untrusted_borders(cfg)
    if not any((*margins, *rows)):
        return []
    looked_at = [files[place]["file_name"] for place in _spread(files)]
    return [f for f in looked_at if not trusts_a_pixel(cfg, image_size(f), margins, rows)]


def _in_words(cfg: CfgNode, file: str) -> str:
    """The keys that leave no pixel of an image, and the sizes; the beginning of a message."""
    margins, rows = _untrusted_borders(cfg)
    stored = image_size(file)
    keys = [f"INPUT.VALID_MARGINS {margins}"]
    keys += [f"MODEL.UDA.IGNORE_TOP {rows[0]}", f"IGNORE_BOTTOM {rows[1]}"]
    if not trusts_a_pixel(cfg, stored, margins, (0, 0)):
        keys = keys[:1]
    elif not trusts_a_pixel(cfg, stored, (0, 0, 0, 0), rows):
        keys = keys[1:]
    height, width = cfg.INPUT.CROP.SIZE
    resized = resized_size(stored, tuple(cfg.INPUT.TARGET_RESIZE), cfg.INPUT.SCALE_RANGE[1])
    return (
        f"{', '.join(keys)}: with {file} of {stored[1]}x{stored[0]} pixels, resized to "
        f"{resized[1]}x{resized[0]}, and crops of {width}x{height}, they leave no trusted pixel"
    )


class AdaptationWatch(HookBase):
    """Warns once if for long no target pixel is confident: then nothing is learned from the target.

    Between the log periods it does not wait for the device.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg
        self._largest: Tensor | None = None  # weight since the last look
        self._told = False

    def before_train(self) -> None:
        """Counts from the first step of this process; tells of images without a trusted pixel."""
        tell_untrusted_images(self.cfg)
        self._since = self.trainer.start_iter

    def after_step(self) -> None:
        """Keeps the largest weight of a pseudo-label; at a log period, looks at it."""
        weight = self.trainer.model.diagnostics.get("pseudo_label_weight")
        if weight is None or self._told:
            return
        self._largest = weight if self._largest is None else torch.maximum(self._largest, weight)
        done, last = self.trainer.iter + 1, self.trainer.max_iter
        if not is_due(done, last, [self.cfg.SOLVER.LOG_PERIOD]):
            return
        if float(self._largest) > 0:
            self._since = done
        self._largest = None
        if done - self._since >= max(1, min(LONG, last // 2)):
            self._told = True
            logger.warning(
                "for %d iterations no pixel of a target image has reached "
                "MODEL.UDA.PSEUDO_THRESHOLD %s: nothing is learned from the target; lower it, or "
                "look at loss_source_ce, whether the source is learned",
                *(done - self._since, self.cfg.MODEL.UDA.PSEUDO_THRESHOLD),
            )
