"""Training and test loaders.

The data order has no state: sample k of a domain depends on (seed, domain, k) alone, so a resumed
run needs only the iteration, and any number of workers or processes gives the same samples.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from numpy.random import Generator
from torch.utils.data import DataLoader, Dataset, Sampler

from ..class_names import ClassList, require_same_classes
from ..errors import InputError
from .class_presence import look_for_classes
from .datasets import datasets_named, target_images
from .layouts import DatasetDict
from .mappers import RequiredClass, SourceMapper, TargetMapper, TestMapper
from .rare_class import RareClassSampler, build_rare_class_sampler
from .worker_signals import leave_signals_to_parent

_PREFETCH = 4  # batches that a worker prepares ahead
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
    """

    def __init__(
        self,
        dataset_dicts: list[DatasetDict],
        mapper: SourceMapper,
        seed: int,
        sampler: RareClassSampler | None,
        min_crop_pixels: float,
    ) -> None:
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper
        self.seed = seed
        self.sampler = sampler
        self.min_crop_pixels = min_crop_pixels

    def __getitem__(self, k: int) -> Sample:
        rng = _generator(self.seed, _SOURCE, k)
        if self.sampler is None:
            return self.mapper(_uniform(self.dataset_dicts, rng), rng)
        train_id, index = self.sampler.draw(rng)
        required = RequiredClass(train_id, self.min_crop_pixels)
        return self.mapper(self.dataset_dicts[index], rng, required)


class TargetStream:
    """Sample k of the target domain: uniform with replacement.

    Args:
        dataset_dicts: the images.
        mapper: reads and crops one.
        seed: of the whole stream.
    """

    def __init__(self, dataset_dicts: list[DatasetDict], mapper: TargetMapper, seed: int) -> None:
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper
        self.seed = seed

    def __getitem__(self, k: int) -> Sample:
        rng = _generator(self.seed, _TARGET, k)
        return self.mapper(_uniform(self.dataset_dicts, rng), rng)


def build_uda_train_loader(
    cfg: CfgNode, start_iteration: int = 0
) -> Iterable[dict[str, list[Sample]]]:
    """Endless batches of both domains, from iteration ``start_iteration`` on.

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
    batches = _TrainBatches(_source_stream(cfg), _target_stream(cfg), total, total // world)
    return _RaisingLoader(_data_loader(cfg, batches, _CountFrom(start_iteration)))


def build_uda_test_loader(cfg: CfgNode, dataset_name: str) -> "_RaisingLoader":
    """The images of a data set in order, one to a batch, divided among the processes.

    Returns:
        an iterable of ``[sample]`` with a length; samples as of `TestMapper`.
    Raises:
        InputError: for a missing data set; while iterating, for damaged files.
    """
    samples = _TestBatches(datasets_named("DATASETS.TEST", (dataset_name,)), TestMapper(cfg))
    return _RaisingLoader(_data_loader(cfg, samples, InferenceSampler(len(samples))))


def _source_stream(cfg: CfgNode) -> SourceStream:
    names = tuple(cfg.DATASETS.TRAIN)
    if not names:
        raise InputError("DATASETS.TRAIN is empty; name at least one labelled data set")
    dataset_dicts = datasets_named("DATASETS.TRAIN", names)
    lists = [
        ClassList(f"{name} in DATASETS.TRAIN", MetadataCatalog.get(name).stuff_classes)
        for name in names
    ]
    for classes in lists[1:]:
        require_same_classes(classes, lists[0], "sources must have the same names in one order")
    rare_class = cfg.DATALOADER.RARE_CLASS
    sampler = None
    if rare_class.ENABLED:
        sampler = build_rare_class_sampler(cfg, dataset_dicts)
    else:
        look_for_classes(cfg, dataset_dicts)
    min_crop_pixels = rare_class.MIN_PIXELS * rare_class.MIN_CROP_RATIO
    return SourceStream(dataset_dicts, SourceMapper(cfg), cfg.SEED, sampler, min_crop_pixels)


def _target_stream(cfg: CfgNode) -> TargetStream | None:
    if not cfg.DATASETS.TARGET:
        return None
    dataset_dicts = datasets_named("DATASETS.TARGET", tuple(cfg.DATASETS.TARGET), target_images)
    return TargetStream(dataset_dicts, TargetMapper(cfg), cfg.SEED)


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
            return {
                "source": [self.source[k] for k in indices],
                "target": [] if self.target is None else [self.target[k] for k in indices],
            }
        except (
            InputError
        ) as error:  # as a value, so that no worker's traceback is wrapped around it
            return error


class _TestBatches(Dataset):
    """Position -> the test sample, as a batch of one."""

    def __init__(self, dataset_dicts: list[DatasetDict], mapper: TestMapper) -> None:
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.dataset_dicts)

    def __getitem__(self, position: int) -> list[Sample] | InputError:
        try:
            return [self.mapper(self.dataset_dicts[position])]
        except InputError as error:
            return error


class _CountFrom(Sampler):
    """start, start + 1, ..."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


class _RaisingLoader:
    """A loader that raises the `InputError` which its data set returned."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


def _data_loader(cfg: CfgNode, batches: Dataset, sampler: Sampler) -> DataLoader:
    workers = cfg.DATALOADER.NUM_WORKERS
    if workers < 0:
        raise InputError(f"DATALOADER.NUM_WORKERS is {workers}; it must be 0 or more")
    return DataLoader(
        batches,
        batch_size=None,  # the data set's items are batches already
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_init_worker,
        prefetch_factor=_PREFETCH if workers else None,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _init_worker(worker_id: int) -> None:
    # torch limits its threads in workers itself; OpenCV's would take cores from the training step
    cv2.setNumThreads(0)
    leave_signals_to_parent()


def _generator(seed: int, domain: int, k: int) -> Generator:
    return np.random.default_rng([seed, domain, k])


def _uniform(dataset_dicts: list[DatasetDict], rng: Generator) -> DatasetDict:
    return dataset_dicts[rng.integers(len(dataset_dicts))]
