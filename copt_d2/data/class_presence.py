"""Says at the start of a training which classes no label file of the source shows."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from numpy import ndarray

from ..errors import InputError
from .class_statistics import class_pixels, class_pixels_here
from .layouts import DatasetDict
from .reading import read_train_ids

logger = logging.getLogger(__name__)
_FIRST_LOOK = 64  # label files: of most data sets they show every class, in about a second


def source_pixels(
    cfg: CfgNode,
    dataset_dicts: Sequence[DatasetDict],
    count: Callable[[str, list[DatasetDict], str], ndarray] = class_pixels,
    key: str = "TRAIN",
) -> ndarray:
    """Pixels of each train id in each source image at stored size, (M, K) int64.

    Args:
        cfg: DATASETS.``key`` and DATALOADER.RARE_CLASS.STATS are read.
        dataset_dicts: the images, as `datasets_named` lists them.
        count: `class_pixels`, which all processes must call, or `class_pixels_here`.
        key: "TRAIN", or "TARGET_LABELED", of which the statistics in STATS say nothing.
    Raises:
        InputError: as of `class_pixels`.
    """
    stats = cfg.DATALOADER.RARE_CLASS.STATS if key == "TRAIN" else ""
    parts = [
        count(name, [entry for entry in dataset_dicts if entry["dataset"] == name], stats)
        for name in cfg.DATASETS[key]
    ]
    return np.concatenate(parts)


def look_for_classes(cfg: CfgNode, dataset_dicts: Sequence[DatasetDict]) -> None:
    """Warns of classes without a pixel where no statistics are needed otherwise.

    Some label files, spread over the data, mostly show all classes. Where they do not, all are
    counted, with a progress bar, and the counts kept, as rare-class sampling does it.

    The first process alone looks; nothing of the training depends on it.

    Args:
        cfg: the whole config.
        dataset_dicts: the source images, as `datasets_named` lists them.
    Raises:
        InputError: if a label file is missing or damaged, or there is no pixel of any class.
    """
    if not comm.is_main_process() or not _missing_at_first(cfg, dataset_dicts):
        return
    logger.info(
        "%d label files do not show all classes: all %d are counted, once",
        *(min(_FIRST_LOOK, len(dataset_dicts)), len(dataset_dicts)),
    )
    try:
        pixels = source_pixels(cfg, dataset_dicts, class_pixels_here)
    except InputError as error:  # statistics that nothing else here needs
        logger.warning("which classes the source lacks is not known: %s", error)
        return
    tell_absent_classes(cfg, pixels.sum(axis=0))


def _missing_at_first(cfg: CfgNode, dataset_dicts: Sequence[DatasetDict]) -> set[int]:
    # train ids that some label files, spread over the data, do not show
    classes = len(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes)
    tables = {
        name: np.array(MetadataCatalog.get(name).label_table, np.uint8)
        for name in cfg.DATASETS.TRAIN
    }
    missing = set(range(classes))
    chosen = np.linspace(0, len(dataset_dicts) - 1, _FIRST_LOOK).astype(int)
    for index in dict.fromkeys(chosen.tolist()):  # each once
        entry = dataset_dicts[index]
        if "sem_seg_file_name" in entry:  # the mapper says what is wrong with others
            train_ids = read_train_ids(entry["sem_seg_file_name"], tables[entry["dataset"]])
            missing -= set(np.flatnonzero(np.bincount(train_ids.ravel())).tolist())
        if not missing:
            break
    return missing


def tell_absent_classes(cfg: CfgNode, totals: ndarray) -> None:
    """One warning that names the classes without a labelled pixel in the source.

    Args:
        cfg: the whole config.
        totals: (K,) pixels of each train id over DATASETS.TRAIN.
    Raises:
        InputError: if no class has a pixel.
    """
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    names, absent = metadata.stuff_classes, np.flatnonzero(totals == 0).tolist()
    if len(absent) == len(names):
        raise InputError(
            "no label file of DATASETS.TRAIN has a pixel of any class: compare the values in the "
            "files with the label table of the data set"
        )
    if not absent or not comm.is_main_process():
        return
    found = ", ".join(f"'{names[k]}' ({k})" for k in absent)
    only = [names[k] for k in range(len(names)) if k not in absent]
    last = f"; '{only[0]}' alone is left, and nothing can be told apart" if len(only) == 1 else ""
    logger.warning(
        "no label file of DATASETS.TRAIN has a pixel of %s %s: not learned here; if it should be, "
        "compare the values in the files with the label table of the data set%s",
        *("class" if len(absent) == 1 else "the classes", found, last),
    )
    uda = cfg.MODEL.UDA
    things = list(uda.FEATURE_DISTANCE.CLASSES or metadata.thing_train_ids)
    if "FeatureDistanceLoss" in uda.FEATURE_LOSSES and things and set(things) <= set(absent):
        logger.warning(
            "none of the classes of the feature distance (MODEL.UDA.FEATURE_DISTANCE.CLASSES, or "
            "the things of the data set), train ids %s, has a pixel: its loss stays 0",
            things,
        )
