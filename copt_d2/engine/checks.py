"""What can be seen from the config alone, before any work: names, ranges, classes."""

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY

from ..errors import InputError

# key, smallest and largest value
RANGES = (
    ("SEED", 0, 2**31),
    ("SOLVER.MAX_ITER", 1, float("inf")),
    ("SOLVER.WARMUP_ITERS", 0, float("inf")),
    ("SOLVER.LOG_PERIOD", 0, float("inf")),
    ("SOLVER.IMAGE_PERIOD", 0, float("inf")),
    ("TEST.PICTURES", 0, float("inf")),
    ("MODEL.UDA.TEACHER_ALPHA", 0, 1),
    ("MODEL.UDA.PSEUDO_THRESHOLD", 0, 1),
    ("MODEL.UDA.JITTER_PROBABILITY", 0, 1),
    ("MODEL.UDA.BLUR_PROBABILITY", 0, 1),
    ("MODEL.UDA.MASK_RATIO", 0, 1),
    ("MODEL.UDA.MASK_BLOCK_SIZE", 1, float("inf")),
    ("MODEL.SEM_SEG_HEAD.DROPOUT", 0, 1),
)


def check_config(cfg: CfgNode, training: bool = True) -> None:
    """Lists every data set that is used and looks at names and ranges.

    Args:
        cfg: the whole config.
        training: whether the training data sets are used too.
    Raises:
        InputError: naming the first key or folder that is wrong.
    """
    for key, low, high in RANGES:
        value = cfg
        for part in key.split("."):
            value = value[part]
        if not low <= value <= high:
            limits = f"{low} or more" if high == float("inf") else f"between {low} and {high}"
            raise InputError(f"{key} is {value}; it must be {limits}")
    if cfg.MODEL.META_ARCHITECTURE not in META_ARCH_REGISTRY:
        known = ", ".join(sorted(name for name, _ in META_ARCH_REGISTRY))
        raise InputError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE!r} is unknown; there are {known}"
        )
    for key in ("TRAIN", "TARGET", "TEST") if training else ("TEST",):
        for name in cfg.DATASETS[key]:
            _check_dataset(cfg, f"DATASETS.{key}", name)
    if training and not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty; name at least one labelled data set")
    block, crop = cfg.MODEL.UDA.MASK_BLOCK_SIZE, cfg.INPUT.CROP.SIZE
    if training and "masked" in cfg.MODEL.UDA.PHASES and round(min(crop) / block) == 0:
        raise InputError(
            f"MODEL.UDA.MASK_BLOCK_SIZE is {block}: a crop of INPUT.CROP.SIZE {tuple(crop)} has no "
            "such patch; make one smaller or the other larger"
        )
    if training and not cfg.DATASETS.TARGET and set(cfg.MODEL.UDA.PHASES) - {"source"}:
        raise InputError(
            f"MODEL.UDA.PHASES {tuple(cfg.MODEL.UDA.PHASES)} need target images: name a data set "
            "in DATASETS.TARGET, or leave only the phase 'source'"
        )


def _check_dataset(cfg: CfgNode, key: str, name: str) -> None:
    known = DatasetCatalog.list()
    ours = sorted(n for n in known if MetadataCatalog.get(n).get("label_table") is not None)
    if name not in ours:
        raise InputError(
            f"{key}: {name!r} is not registered as a data set with label table; "
            f"there are {', '.join(ours)}"
        )
    classes, expected = len(MetadataCatalog.get(name).stuff_classes), cfg.MODEL.SEM_SEG_HEAD
    if classes != expected.NUM_CLASSES:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {expected.NUM_CLASSES}, but {name} in {key} has "
            f"{classes} classes"
        )
    files = DatasetCatalog.get(name)  # says what is missing
    if not key.endswith("TARGET") and not all("sem_seg_file_name" in entry for entry in files):
        raise InputError(f"{key}: {name!r} has no labels, which are needed there")
