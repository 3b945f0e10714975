"""Whether the network takes the images that it will meet, found out before any work."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils import comm
from torch import Tensor, nn

from ..data.geometry import Size, resized_size
from ..data.reading import image_size
from ..errors import InputError, is_out_of_memory
from ..modeling.meta_device import on_meta, without_values
from .random_state import kept_random_state

LOOKED_AT = 200  # test images of a data set whose sizes are read


class _Predicting(nn.Module):
    """``predict`` in place of ``forward``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, H, W)."""
        return self.network.predict(images)


def check_sizes(cfg: CfgNode, student: nn.Module, *, training: bool) -> None:
    """Runs the student at the training crop and at the sizes that evaluation predicts at once.

    Only shapes are computed, on the meta device. Where that fails, an image of zeros says whether
    the size or the meta device is to blame. Random generators, modes and statistics stay as they
    are. One process does it for all.

    Args:
        cfg: the whole config.
        student: the network.
        training: whether it will be trained.
    Raises:
        InputError: naming the key with the size, and the reason.
    """
    if not comm.is_main_process():
        return
    with kept_random_state():
        if training:
            _check_crop(cfg, student)
        for name, size in _test_sizes(cfg):
            error = _error_at(_Predicting(student), (1, 3, *size), training=False)
            if error is not None:
                _raise_own(error)
                raise InputError(
                    f"{_encoder(cfg)} cannot predict {size[0]}x{size[1]} pixels (height x width) "
                    f"of {name}: {_reason(error)}; TEST.WINDOW and INPUT.TEST_RESIZE change the "
                    "size"
                ) from error


def _check_crop(cfg: CfgNode, student: nn.Module) -> None:
    crop, total = tuple(cfg.INPUT.CROP.SIZE), cfg.SOLVER.IMS_PER_BATCH
    images = max(total // comm.get_world_size(), 1)
    error = _error_at(student, (images, 3, *crop), training=True)
    if error is None:
        return
    _raise_own(error)
    if "more than 1 value per channel" in str(error):
        raise InputError(
            f"INPUT.CROP.SIZE {crop} and SOLVER.IMS_PER_BATCH {total} leave a batch norm of "
            f"{_encoder(cfg)} or of the decoder a single value, which has no statistics: enlarge "
            "one of them, or set MODEL.TIMM.FREEZE_NORM True"
        ) from error
    raise InputError(
        f"{_encoder(cfg)} cannot be trained with INPUT.CROP.SIZE {crop} and {images} images a "
        f"process: {_reason(error)}"
    ) from error


def _raise_own(error: Exception) -> None:
    if isinstance(error, InputError):
        raise error


def _encoder(cfg: CfgNode) -> str:
    if cfg.MODEL.BACKBONE.NAME == "build_timm_backbone":
        return f"MODEL.TIMM.NAME {cfg.MODEL.TIMM.NAME!r}"
    return f"MODEL.BACKBONE.NAME {cfg.MODEL.BACKBONE.NAME!r}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _error_at(network: nn.Module, shape: tuple[int, ...], *, training: bool) -> Exception | None:
    """What a copy of a network says to images of a shape; ``None`` if it takes them."""
    try:
        on_meta(without_values(network).train(training), shape)
        return None
    except Exception:  # perhaps of the meta device, which lacks values and some operators
        pass
    weights = {id(value): value for value in network.parameters()}  # these alone are not copied
    copied = copy.deepcopy(network, weights).train(training)
    device = next((value.device for value in network.parameters()), None)
    try:
        with torch.no_grad():
            copied(torch.zeros(shape, device=device))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return error
    return None


def _test_sizes(cfg: CfgNode) -> Iterator[tuple[str, Size]]:
    """Data set and (h, w) of what is predicted at once: the smallest and largest heights and
    widths.
    """
    window = tuple(cfg.TEST.WINDOW)
    for name in cfg.DATASETS.TEST:
        files = [entry["file_name"] for entry in DatasetCatalog.get(name)]
        shown = np.linspace(0, len(files) - 1, min(len(files), LOOKED_AT), dtype=int)
        sizes = set()
        for index in shown:
            try:
                size = resized_size(image_size(files[index]), tuple(cfg.INPUT.TEST_RESIZE))
            except InputError:  # told when it is read
                continue
            sizes.add(tuple(map(min, size, window)) if window else size)
        for axis in (0, 1):
            for extreme in (min, max):
                if sizes:
                    size = extreme(sizes, key=lambda found, axis=axis: found[axis])
                    sizes.discard(size)
                    yield name, size
