"""How many bits of 16-bit images count: one number per data set, never one per image.

Cameras of 10, 12 or 14 bits store their values in files with 16, where the upper bits stay 0. Taken
as 16 bits such pictures are black; stretched one by one, dark ones would be as bright as others.
"""

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import yaml
from detectron2.config import CfgNode

from ..errors import InputError
from .caching import cache_file, fingerprint, store
from .datasets import datasets_named, target_images
from .layouts import DatasetDict
from .parallel import map_in_threads, on_first_process
from .reading import MAX_BITS, read_header, read_samples

DEPTHS = (10, 12, 14, MAX_BITS)
NO_DEPTH = 0  # of a data set without 16-bit images
_THREADS = 4

logger = logging.getLogger(__name__)


def with_bit_depths(cfg: CfgNode, entries: list[DatasetDict]) -> list[DatasetDict]:
    """Adds ``bit_depth`` to the entries of data sets with 16-bit images.

    Args:
        cfg: see `bit_depth`.
        entries: dicts with ``file_name`` and ``dataset``, as `datasets_named` lists them.
    """
    depths = {
        name: bit_depth(cfg, name, [entry for entry in entries if entry["dataset"] == name])
        for name in dict.fromkeys(entry["dataset"] for entry in entries)
    }
    return [
        {**entry, "bit_depth": depths[entry["dataset"]]} if depths[entry["dataset"]] else entry
        for entry in entries
    ]


def bit_depth(cfg: CfgNode, name: str, entries: Sequence[DatasetDict]) -> int:
    """Bits of one data set's 16-bit images; 0 if it has none.

    Args:
        cfg: INPUT.BIT_DEPTH, where it is not 0, counts for all data sets, else INPUT.BIT_DEPTHS for
            those that it names. For others the images are looked at; a data set that is only tested
            has the bits of DATASETS.TARGET if its values fit.
        name: of the data set.
        entries: its dicts with ``file_name``.
    """
    if cfg.INPUT.BIT_DEPTH:
        return cfg.INPUT.BIT_DEPTH
    known = dict(map(tuple, cfg.INPUT.BIT_DEPTHS))
    if name in known:
        return known[name]
    found = find_bit_depth(name, [entry["file_name"] for entry in entries])
    if found == NO_DEPTH or name in (
        *(*cfg.DATASETS.TRAIN, *cfg.DATASETS.TARGET_LABELED, *cfg.DATASETS.TARGET),
    ):
        return found
    # a few frames may all be dark: the camera is still the one that the model knows
    larger = [known[target] for target in cfg.DATASETS.TARGET if known.get(target, 0) > found]
    if not larger:
        return found
    logger.warning(
        "the values of %s would fit %d bits; they are read as %d bits, as those of "
        "DATASETS.TARGET: INPUT.BIT_DEPTH says otherwise",
        *(name, found, min(larger)),
    )
    return min(larger)


def record_bit_depths(cfg: CfgNode) -> None:
    """Writes the bits of each data set with 16-bit images into INPUT.BIT_DEPTHS, so that
    config.yaml and checkpoints hold them. All processes must call it; the first one looks.

    Args:
        cfg: changed in place; what it holds already stays.
    Raises:
        InputError: on every process, if a data set is not there.
    """
    if cfg.INPUT.BIT_DEPTH:
        return
    rows = on_first_process(partial(_all_rows, cfg))
    if rows:
        cfg.INPUT.BIT_DEPTHS = rows


def _all_rows(cfg: CfgNode) -> list[list[str | int]]:
    cfg = cfg.clone()  # with the rows that are known already, for those that follow
    cfg.defrost()
    for key in ("TARGET", "TARGET_LABELED", "TRAIN", "TEST"):  # the test sets follow the target
        options = {"list_images": target_images} if key == "TARGET" else {}
        for name in cfg.DATASETS[key]:
            if name in [known for known, _ in cfg.INPUT.BIT_DEPTHS]:
                continue
            depth = bit_depth(cfg, name, datasets_named(f"DATASETS.{key}", (name,), **options))
            if depth:
                cfg.INPUT.BIT_DEPTHS = [*cfg.INPUT.BIT_DEPTHS, [name, depth]]
    return [list(row) for row in cfg.INPUT.BIT_DEPTHS]


def adopt_bit_depths(cfg: CfgNode, earlier: Any) -> None:
    """Takes what an earlier config says of bits, where ``cfg`` says nothing.

    Args:
        cfg: changed in place.
        earlier: YAML text of the config in a checkpoint; anything else says nothing.
    """
    with suppress(yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        stored = yaml.safe_load(earlier)["INPUT"]
        if not cfg.INPUT.BIT_DEPTH and not cfg.INPUT.BIT_DEPTHS:
            depth = int(stored["BIT_DEPTH"])
            rows = [[str(name), int(bits)] for name, bits in stored["BIT_DEPTHS"]]
            cfg.INPUT.BIT_DEPTH, cfg.INPUT.BIT_DEPTHS = depth, rows


def find_bit_depth(name: str, files: Sequence[str]) -> int:
    """The smallest of `DEPTHS` that holds the largest value of all 16-bit images; 0 if there is no
    such image. Kept in the cache, by the paths, sizes and times of the files.

    Images that are missing or damaged do not count; whoever reads them says so.

    Args:
        name: of the data set.
        files: its images.
    """
    files = [file for file in files if os.path.isfile(file)]
    path = cache_file("bit_depth", name, fingerprint(files, "image"), ".json")
    with suppress(OSError, ValueError, KeyError, TypeError):
        largest = json.loads(path.read_bytes())["largest"]
        return NO_DEPTH if largest is None else _depth_for(int(largest))
    is_deep = map_in_threads(_is_deep, files, _THREADS, f"bits of {name}")
    deep = [file for file, flag in zip(files, is_deep, strict=True) if flag]
    largest = _largest_value(name, deep) if deep else None
    store(path, json.dumps({"largest": largest}).encode())
    if largest is None:
        return NO_DEPTH
    logger.info(
        "%s: %d of %d images have files of 16 bits; their values, up to %d, need %d bits",
        *(name, len(deep), len(files), largest, _depth_for(largest)),
    )
    return _depth_for(largest)


def _is_deep(file: str) -> bool:
    try:
        return read_header(file).bits == MAX_BITS
    except InputError:
        return False


def _depth_for(largest: int) -> int:
    return next(depth for depth in DEPTHS if largest < 1 << depth)


def _largest_value(name: str, files: Sequence[str]) -> int:
    decided = Event()  # that all bits are needed

    def largest(file: str) -> int:
        if decided.is_set():
            return 0
        try:
            value = int(read_samples(file).max())
        except InputError:
            return 0
        if _depth_for(value) == MAX_BITS:
            decided.set()
        return value

    return max(map_in_threads(largest, files, _THREADS, f"largest value of {name}"))
