"""Training and test loaders.

The data order has no state: sample k of a domain depends on (seed, domain, k) alone, so a resumed
run needs only the iteration, and any number of workers or processes gives the same samples.
"""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import cv2
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from ..class_names import ClassList, require_same_classes
from ..errors import InputError
from .bit_depth import with_bit_depths
from .class_presence import look_for_classes
from .datasets import datasets_named, target_images
from .draws import image_weights
from .layouts import DatasetDict
from .mappers import SourceMapper, TargetMapper, TestMapper
from .rare_class import build_rare_class_sampler
from .shared_memory import fitting_prefetch, hand_over, taken_over
from .streams import Sample, SourceStream, TargetStream
from .worker_signals import leave_signals_to_parent
from .workers import batches_of, patience

_PREFETCH = 4  # batches that a worker prepares ahead
_PIXEL_BYTES = 4  # of a training image: three channels, and its label or whether it is valid
# errors that the data sets return as values, so that no worker's traceback is wrapped around them
_TOLD = (InputError, MemoryError)


def build_uda_train_loader(
    cfg: CfgNode, start_iteration: int = 0, tell: bool = True
) -> Iterable[dict[str, list[Sample]]]:
    """Endless batches of both domains, from iteration ``start_iteration`` on.

    Args:
        cfg: the whole config.
        start_iteration: of the first batch.
        tell: whether warnings about the data are logged; not in a run that has built one before.
    Returns:
        an iterable of ``{"source": [sample] * n, "target": [sample] * n}`` with n =
        SOLVER.IMS_PER_BATCH / processes and samples as of `SourceMapper` and `TargetMapper`;
        ``target`` is [] if DATASETS.TARGET is empty.
    Raises:
        InputError: for missing data sets and wrong keys; while iterating, for damaged files.
    """
    world = comm.get_world_size()
    total = cfg.SOLVER.IMS_PER_BATCH
    if total < 1 or total % world:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH is {total}; it must be a multiple of the {world} processes"
        )
    batches = _TrainBatches(_source_stream(cfg, tell), _target_stream(cfg), total, total // world)
    images = (total // world) * (2 if cfg.DATASETS.TARGET else 1)
    height, width = cfg.INPUT.CROP.SIZE
    size = images * height * width * _PIXEL_BYTES
    return _Loader(cfg, batches, _CountFrom(start_iteration), images, size)


def build_uda_test_loader(cfg: CfgNode, dataset_name: str) -> "_Loader":
    """The images of a data set in order, one to a batch, divided among the processes.

    Returns:
        an iterable of ``[sample]`` with a length; samples as of `TestMapper`.
    Raises:
        InputError: for a missing data set; while iterating, for damaged files.
    """
    entries = with_bit_depths(cfg, datasets_named("DATASETS.TEST", (dataset_name,)))
    samples = _TestBatches(entries, TestMapper(cfg))
    return _Loader(cfg, samples, InferenceSampler(len(samples)), images=1)


def _source_stream(cfg: CfgNode, tell: bool) -> SourceStream:
    if not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty; name at least one labelled data set")
    if not cfg.DATASETS.TARGET_LABELED:
        return _labelled_stream(cfg, "TRAIN", "SOURCE_RESIZE", tell)
    joined = _labelled_stream(cfg, "TARGET_LABELED", "TARGET_RESIZE", tell)
    share = cfg.DATASETS.TARGET_LABELED_SHARE
    return _labelled_stream(cfg, "TRAIN", "SOURCE_RESIZE", tell, joined=joined, share=share)


def _labelled_stream(
    cfg: CfgNode, key: str, resize_key: str, tell: bool, **joined: Any
) -> SourceStream:
    """The images of DATASETS.TRAIN or DATASETS.TARGET_LABELED."""
    names = tuple(cfg.DATASETS[key])
    dataset_dicts = with_bit_depths(cfg, datasets_named(f"DATASETS.{key}", names))
    lists = [
        ClassList(f"{name} in DATASETS.{owner}", MetadataCatalog.get(name).stuff_classes)
        for owner in dict.fromkeys(("TRAIN", key))
        for name in cfg.DATASETS[owner]
    ]
    for classes in lists[1:]:
        require_same_classes(classes, lists[0], "sources must have the same names in one order")
    rare_class = cfg.DATALOADER.RARE_CLASS
    sampler = None
    if rare_class.ENABLED:
        sampler = build_rare_class_sampler(cfg, dataset_dicts, tell, key)
    elif tell and key == "TRAIN":
        look_for_classes(cfg, dataset_dicts)
    min_crop_pixels = rare_class.MIN_PIXELS * rare_class.MIN_CROP_RATIO
    return SourceStream(
        *(
            dataset_dicts,
            SourceMapper(cfg, resize_key=resize_key),
            cfg.SEED,
            sampler,
            min_crop_pixels,
        ),
        weights=image_weights(names, dataset_dicts),
        **joined,
    )


def _target_stream(cfg: CfgNode) -> TargetStream | None:
    if not cfg.DATASETS.TARGET:
        return None
    images = datasets_named("DATASETS.TARGET", tuple(cfg.DATASETS.TARGET), target_images)
    weights = image_weights(cfg.DATASETS.TARGET, images)
    return TargetStream(with_bit_depths(cfg, images), TargetMapper(cfg), cfg.SEED, weights)


class _TrainBatches(Dataset):
    """Iteration -> this process's batch of both domains."""

    def __init__(
        self, source: SourceStream, target: TargetStream | None, total: int, per_process: int
    ) -> None:
        self.source = source
        self.target = target
        self.total = total
        self.per_process = per_process
        self.first = comm.get_rank() * per_process

    def __getitem__(self, iteration: int) -> dict[str, list[Sample]] | InputError:
        start = iteration * self.total + self.first
        indices = range(start, start + self.per_process)
        try:
            batch = {
                "source": [self.source[k] for k in indices],
                "target": [] if self.target is None else [self.target[k] for k in indices],
            }
        except _TOLD as error:
            return error
        return hand_over(batch)


class _TestBatches(Dataset):
    """Position -> the test sample, as a batch of one."""

    def __init__(self, dataset_dicts: list[DatasetDict], mapper: TestMapper) -> None:
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.dataset_dicts)

    def __getitem__(self, position: int) -> list[Sample] | InputError:
        try:
            batch = [self.mapper(self.dataset_dicts[position])]
        except _TOLD as error:
            return error
        return hand_over(batch)


class _CountFrom(Sampler):
    """start, start + 1, ..."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


class _Loader:
    """Batches of a data set, whose errors are raised here; no worker is waited for without an end.

    Args:
        cfg: DATALOADER.NUM_WORKERS is read.
        batches: its items are batches already, or an error of ``_TOLD``.
        sampler: chooses them.
        images: of a batch, for the time that it may take.
        batch_bytes: of a batch, where that is known beforehand.
    """

    def __init__(
        self, cfg: CfgNode, batches: Dataset, sampler: Sampler, images: int, batch_bytes: int = 0
    ) -> None:
        workers = cfg.DATALOADER.NUM_WORKERS
        if workers < 0:
            raise InputError(f"DATALOADER.NUM_WORKERS is {workers}; it must be 0 or more")
        self._patience = patience(images, workers)
        self._loader = DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            collate_fn=_as_it_is,
            worker_init_fn=_init_worker,
            prefetch_factor=fitting_prefetch(batch_bytes, workers, _PREFETCH) if workers else None,
            # where `limited` cannot count, such as in a thread
            timeout=2 * self._patience if workers else 0,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        with closing(batches_of(self._loader, self._patience)) as batches:
            for batch in batches:
                if isinstance(batch, _TOLD):
                    raise batch
                yield taken_over(batch)


def _as_it_is(batch: Any) -> Any:
    return batch


def _init_worker(worker_id: int) -> None:
    # torch limits its threads in workers itself; OpenCV's would take cores from the training step
    cv2.setNumThreads(0)
    leave_signals_to_parent()
