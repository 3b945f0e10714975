"""Batches in the shared memory that workers have for them, or through pipes where it is small."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from numpy import ndarray
from torch import Tensor
from torch.utils.data import get_worker_info

SHARED_MEMORY = "/dev/shm"
HELD = 2  # batches that the training holds: the one in use, and the next until it is taken
RESERVE = 2**20  # bytes that batches leave free, for the locks of processes

logger = logging.getLogger(__name__)


def free_shared_bytes() -> int | None:
    """Bytes of shared memory that are free; ``None`` where it has no limit of its own."""
    if sys.platform != "linux":
        return None
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def fitting_prefetch(batch_bytes: int, workers: int, prefetch: int) -> int:
    """How many batches each worker may prepare ahead, told in the log if fewer than wanted.

    Where not even one has room, all may go through pipes, see `hand_over`.

    Args:
        batch_bytes: of one batch of one process; 0 = not known.
        workers: of one process.
        prefetch: batches wanted.
    """
    free = free_shared_bytes()
    needed = [
        (count * workers + HELD) * batch_bytes * comm.get_local_size() + RESERVE
        for count in range(prefetch + 1)
    ]
    if free is None or not batch_bytes or needed[prefetch] <= free:
        return prefetch
    fitting = next((count for count in range(prefetch, 0, -1) if needed[count] <= free), 0)
    logger.warning(
        "the loader wants %.1f MB of shared memory for %d batches of %.1f MB a worker; %s has %.1f "
        "MB free, so %s; give it more (Docker: --shm-size), or lower DATALOADER.NUM_WORKERS",
        *(needed[prefetch] / 1e6, prefetch, batch_bytes / 1e6, SHARED_MEMORY, free / 1e6),
        f"each prepares {fitting} ahead"
        if fitting
        else "what has no room there is sent through pipes, which is slower",
    )
    return fitting or prefetch


@dataclass
class ThroughPipe:
    """A batch with numpy arrays instead of tensors, which are sent byte by byte."""

    batch: Any


def hand_over(batch: Any) -> Any:
    """In a worker, moves a batch's tensors into shared memory; elsewhere it stays as it is.

    By itself torch does so in a thread that has nobody to tell that there is no room: the batch is
    lost and waited for for ever. Here such a batch is sent through the pipe.
    """
    if get_worker_info() is None:
        return batch
    free, sizes = free_shared_bytes(), []
    _converted(batch, lambda tensor: sizes.append(tensor.nbytes))
    if free is None or free > sum(sizes) + RESERVE:
        try:
            return _converted(batch, Tensor.share_memory_)
        except RuntimeError:  # another process was faster
            pass
    return ThroughPipe(_converted(batch, Tensor.numpy))


def taken_over(batch: Any) -> Any:
    """Inverse of :func:`hand_over`; the log says once that something came through the pipe."""
    if not isinstance(batch, ThroughPipe):
        return batch
    log_first_n(
        logging.WARNING,
        f"{SHARED_MEMORY} has no room for what the loader's workers prepare, so it is sent through "
        "pipes, which is slower; give it more (Docker: --shm-size)",
        name=__name__,
    )
    return _converted(batch.batch, torch.from_numpy, ndarray)


def _converted(batch: Any, convert: Callable[[Any], Any], kind: type = Tensor) -> Any:
    """Nested lists and dicts with each value of ``kind`` converted."""
    if isinstance(batch, kind):
        return convert(batch)
    if isinstance(batch, dict):
        return {key: _converted(value, convert, kind) for key, value in batch.items()}
    if isinstance(batch, list):
        return [_converted(value, convert, kind) for value in batch]
    return batch
