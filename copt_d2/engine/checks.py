"""What can be seen from the config alone, before any work: names, ranges, classes."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY

from ..data.datasets import require_registered, target_images
from ..data.label_spaces import CITYSCAPES_CLASSES
from ..errors import InputError
from ..evaluation.export import check_format_names, check_formats_fit
from ..modeling.networks.hrda import GRID
from .adaptation import check_trusted_pixels
from .class_checks import check_class_names
from .config_keys import check_keys, keys_without_effect
from .config_values import check_values

WITHOUT_EFFECT = keys_without_effect()  # for scripts that list them


def check_config(cfg: CfgNode, training: bool = True) -> None:
    """Lists every data set that is used and looks at names and ranges.

    Args:
        cfg: the whole config.
        training: whether the training data sets are used too.
    Raises:
        InputError: naming the first key or folder that is wrong.
    """
    check_keys(cfg)
    check_values(cfg)
    if cfg.SEED < 0:
        raise InputError(
            f"SEED is {cfg.SEED}; it must be 0 or more (tools/train_net.py draws one for -1)"
        )
    ours = sorted(n for n, built in META_ARCH_REGISTRY if hasattr(built, "training_phases"))
    if cfg.MODEL.META_ARCHITECTURE not in ours:
        raise InputError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE!r} is no registered model with "
            f"training_phases; there are {', '.join(ours)}"
        )
    _check_test_keys(cfg)
    if training:
        _check_training_keys(cfg)
    for key in ("TRAIN", "TARGET_LABELED", "TARGET", "TEST") if training else ("TEST",):
        for name in cfg.DATASETS[key]:
            _check_dataset(cfg, f"DATASETS.{key}", name)
    check_class_names(cfg, training)


def _check_training_keys(cfg: CfgNode) -> None:
    """What fits together in training."""
    uda, crop = cfg.MODEL.UDA, cfg.INPUT.CROP
    if not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty; name at least one labelled data set")
    if uda.FEATURE_LOSSES and set(uda.PHASES) <= {"mixed", "masked"}:
        raise InputError(
            f"MODEL.UDA.FEATURE_LOSSES {tuple(uda.FEATURE_LOSSES)} belong to the phase 'source', "
            f"which MODEL.UDA.PHASES {tuple(uda.PHASES)} lacks"
        )
    if not cfg.DATASETS.TARGET and (set(uda.PHASES) - {"source"} or uda.TARGET_FEATURE_LOSSES):
        raise InputError(
            f"MODEL.UDA.PHASES {tuple(uda.PHASES)} and TARGET_FEATURE_LOSSES "
            f"{tuple(uda.TARGET_FEATURE_LOSSES)} need target images: name a data set in "
            "DATASETS.TARGET, or leave only the phase 'source'"
        )
    if not crop.ENABLED:
        raise InputError(
            "INPUT.CROP.ENABLED is False; training needs images of one size: leave it True and "
            "set INPUT.CROP.SIZE to the size of the images"
        )
    rare = cfg.DATALOADER.RARE_CLASS
    wanted = rare.MIN_PIXELS * rare.MIN_CROP_RATIO
    if rare.ENABLED and wanted >= crop.SIZE[0] * crop.SIZE[1]:
        raise InputError(
            f"DATALOADER.RARE_CLASS.MIN_PIXELS {rare.MIN_PIXELS} times MIN_CROP_RATIO "
            f"{rare.MIN_CROP_RATIO:g} pixels of a class never fit into a crop of INPUT.CROP.SIZE "
            f"{tuple(crop.SIZE)}: lower one of them"
        )
    backbone = cfg.MODEL.BACKBONE
    if backbone.FREEZE_AT and backbone.NAME == "build_mit_backbone":
        raise InputError(
            f"MODEL.BACKBONE.FREEZE_AT is {backbone.FREEZE_AT}; MiT is trained as a whole: leave 0"
        )
    if cfg.MODEL.HRDA.ENABLED and any(side % GRID for side in crop.SIZE):
        raise InputError(
            f"INPUT.CROP.SIZE is {tuple(crop.SIZE)}; with MODEL.HRDA.ENABLED its sides must be "
            f"multiples of {GRID}"
        )
    if "masked" in uda.PHASES:
        block = uda.MASK_BLOCK_SIZE
        if round(min(crop.SIZE) / block) == 0:
            raise InputError(
                f"MODEL.UDA.MASK_BLOCK_SIZE is {block}: a crop of INPUT.CROP.SIZE "
                f"{tuple(crop.SIZE)} has no such patch; make one smaller or the other larger"
            )


def _check_test_keys(cfg: CfgNode) -> None:
    """Windows without gaps, and classes and formats that exist."""
    check_format_names(cfg.TEST.EXPORT)
    window, stride = tuple(cfg.TEST.WINDOW), tuple(cfg.TEST.STRIDE)
    if stride and not window:
        raise InputError(f"TEST.STRIDE is {stride} but TEST.WINDOW is empty; set both or none")
    if any(step > side for step, side in zip(stride, window, strict=False)):
        raise InputError(
            f"TEST.STRIDE {stride} is larger than TEST.WINDOW {window}: pixels would be left out"
        )
    classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    outside = [train_id for train_id in cfg.TEST.CLASSES if train_id >= classes]
    if outside:
        raise InputError(
            f"TEST.CLASSES {outside} are no train ids of MODEL.SEM_SEG_HEAD.NUM_CLASSES {classes}"
        )


def _check_dataset(cfg: CfgNode, key: str, name: str) -> None:
    require_registered(key, name)
    classes, expected = len(MetadataCatalog.get(name).stuff_classes), cfg.MODEL.SEM_SEG_HEAD
    if classes != expected.NUM_CLASSES:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {expected.NUM_CLASSES}, but {name} in {key} has "
            f"{classes} classes"
        )
    if key.endswith("TARGET"):
        check_trusted_pixels(cfg, name, target_images(name))  # which says what is missing
        return
    files = DatasetCatalog.get(name)
    if key.endswith("TEST"):
        _check_test_files(cfg, name, files)
    elif not all("sem_seg_file_name" in entry for entry in files):
        raise InputError(f"{key}: {name!r} has no labels, which are needed there")


def _check_test_files(cfg: CfgNode, name: str, files: list[dict[str, Any]]) -> None:
    """Labels for all images, or none and something to export."""
    unlabelled = [entry["file_name"] for entry in files if "sem_seg_file_name" not in entry]
    if 0 < len(unlabelled) < len(files):
        raise InputError(
            f"DATASETS.TEST: {unlabelled[0]} of {name!r} has no label file, others have one"
        )
    if unlabelled and not cfg.TEST.EXPORT:
        raise InputError(
            f"DATASETS.TEST: {name!r} has no labels, so there is nothing to score: set TEST.EXPORT "
            "to write its predictions, e.g. \"('train_ids',)\""
        )
    is_cityscapes = tuple(MetadataCatalog.get(name).stuff_classes) == CITYSCAPES_CLASSES
    images = [entry["file_name"] for entry in files]
    check_formats_fit(cfg.TEST.EXPORT, name, is_cityscapes, images)
