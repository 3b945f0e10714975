"""The table of all config keys: what the value of each must be.

A row for every key that ``copt_d2/config.py`` adds or gives a default, and for detectron2's keys
that have an effect here. Relations between keys are in ``checks.py``.
"""

from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY

from ...checkpoint import PARTS
from ...modeling.backbone.mix_transformer import VARIANTS
from ...modeling.losses import LOSS_REGISTRY
from ...modeling.meta_arch.uda_segmentor import PHASES
from .kinds import (
    Kind,
    content,
    fraction,
    number,
    one_number_of,
    one_of,
    path,
    registered,
    switch,
    text,
    whole,
)
from .lists import (
    bit_depths,
    box,
    class_names,
    expected_results,
    interval,
    maps_up_to,
    names,
    numbers,
    pixels,
    train_ids,
    wholes,
)


def _losses() -> list[str]:
    return sorted(name for name, _ in LOSS_REGISTRY)


GENERAL: dict[str, Kind] = {
    "CUDNN_BENCHMARK": switch(),
    "OUTPUT_DIR": path("a folder", empty=False),
    "SEED": whole(-1),  # -1 = drawn at the start
}

DATA: dict[str, Kind] = {
    "DATALOADER.NUM_WORKERS": whole(0, 256),
    "DATALOADER.RARE_CLASS.ENABLED": switch(),
    "DATALOADER.RARE_CLASS.MIN_CROP_RATIO": number(),
    "DATALOADER.RARE_CLASS.MIN_PIXELS": whole(),
    "DATALOADER.RARE_CLASS.STATS": path("a folder"),
    "DATALOADER.RARE_CLASS.TEMPERATURE": number(above=True),
    "DATASETS.FILE": path("a data description"),
    "DATASETS.FILE_CONTENT": content(),
    "DATASETS.TARGET": names("data set"),
    "DATASETS.TARGET_LABELED": names("data set"),
    "DATASETS.TARGET_LABELED_SHARE": fraction(above=True),
    "DATASETS.TEST": names("data set"),
    "DATASETS.TRAIN": names("data set"),
    "INPUT.BIT_DEPTH": one_number_of(0, *range(8, 17)),  # 0 = found
    "INPUT.BIT_DEPTHS": bit_depths(),
    "INPUT.CROP.ENABLED": switch(),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": fraction(above=True),
    "INPUT.CROP.SIZE": pixels("height", "width"),
    "INPUT.CROP.TYPE": one_of("absolute"),
    "INPUT.FORMAT": one_of("RGB"),
    "INPUT.PHOTOMETRIC_DISTORTION": switch(),
    "INPUT.RANDOM_FLIP": one_of("horizontal", "none"),
    "INPUT.SCALE_RANGE": interval(0.01, 100),
    "INPUT.SOURCE_RESIZE": box(),
    "INPUT.TARGET_RESIZE": box(),
    "INPUT.TEST_RESIZE": box(),
    "INPUT.VALID_MARGINS": pixels("top", "bottom", "left", "right", low=0),
}

NETWORK: dict[str, Kind] = {
    "MODEL.BACKBONE.FREEZE_AT": whole(0, 5),
    "MODEL.BACKBONE.NAME": registered(BACKBONE_REGISTRY),
    "MODEL.DEVICE": text("a device, such as cuda or cpu"),
    "MODEL.HRDA.CROP_SIZE": whole(16, 2**16, multiple_of=16),
    "MODEL.HRDA.DETAIL_LOSS_WEIGHT": fraction(),
    "MODEL.HRDA.ENABLED": switch(),
    "MODEL.HRDA.WINDOW_BATCH": whole(1),
    "MODEL.META_ARCHITECTURE": text("the name of a model"),
    "MODEL.MIT.DROP_PATH_RATE": fraction(below=True),
    "MODEL.MIT.VARIANT": one_of(*VARIANTS),
    "MODEL.MIT.WEIGHTS": path(),
    "MODEL.PIXEL_MEAN": numbers(3),
    "MODEL.PIXEL_STD": numbers(3, 0, above=True),
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": whole(1, 2**13),
    "MODEL.SEM_SEG_HEAD.DILATIONS": wholes(1, 1024),
    "MODEL.SEM_SEG_HEAD.DROPOUT": fraction(below=True),
    "MODEL.SEM_SEG_HEAD.FUSION": one_of("sep_aspp", "conv"),
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": names("feature map", empty=False),
    "MODEL.SEM_SEG_HEAD.NAME": registered(SEM_SEG_HEADS_REGISTRY),
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": whole(1, 254),
    "MODEL.TIMM.DROP_PATH_RATE": fraction(below=True),
    "MODEL.TIMM.FREEZE_NORM": switch(),
    "MODEL.TIMM.NAME": text("the name of a timm model"),
    "MODEL.TIMM.WEIGHTS": path("a file, or 'embedded', 'timm'"),
    "MODEL.WEIGHTS": path(),
    "MODEL.WEIGHTS_PART": one_of(*PARTS),
}

METHOD: dict[str, Kind] = {
    "MODEL.COPT.ARTICLE": switch(),
    "MODEL.COPT.AVERAGING": one_of("flat", "two_level"),
    "MODEL.COPT.BANK_INIT": one_of("zeros", "first"),
    "MODEL.COPT.CLASS_NAMES": class_names(),
    "MODEL.COPT.DECAY": fraction(below=True),
    "MODEL.COPT.ENCODER": text("a text encoder"),
    "MODEL.COPT.ENCODER_DEVICE": text("a device, such as cuda or cpu, or 'auto'"),
    "MODEL.COPT.ENCODER_DTYPE": one_of("float32", "bfloat16", "float16"),
    "MODEL.COPT.ENCODER_POOLING": one_of("last", "mean"),
    "MODEL.COPT.ENCODER_WEIGHTS": path("a file or folder"),
    "MODEL.COPT.METRIC": one_of("cosine", "l1", "l2"),
    "MODEL.COPT.NORMALIZE_PROMPTS": switch(),
    "MODEL.COPT.POOLING": one_of("nearest", "area", "bilinear"),
    "MODEL.COPT.SOURCE_DOMAINS": names("domain"),
    "MODEL.COPT.SYNC_CLASS_FEATURES": switch(),
    "MODEL.COPT.TARGET_DOMAINS": names("domain"),
    "MODEL.COPT.TEMPLATES": path("a file or folder, or 'hand_crafted'"),
    "MODEL.COPT.TEXT_BANK": path(),
    "MODEL.COPT.WEIGHT": number(),
    "MODEL.UDA.BLUR_PROBABILITY": fraction(),
    "MODEL.UDA.FEATURE_DISTANCE.CLASSES": train_ids(),
    "MODEL.UDA.FEATURE_DISTANCE.MIN_RATIO": fraction(),
    "MODEL.UDA.FEATURE_DISTANCE.WEIGHT": number(),
    "MODEL.UDA.FEATURE_LOSSES": names("loss", _losses),
    "MODEL.UDA.IGNORE_BOTTOM": whole(0, 2**16),
    "MODEL.UDA.IGNORE_TOP": whole(0, 2**16),
    "MODEL.UDA.JITTER_PROBABILITY": fraction(),
    "MODEL.UDA.JITTER_STRENGTH": fraction(),
    "MODEL.UDA.MASK_AUGMENT": switch(),
    "MODEL.UDA.MASK_BLOCK_SIZE": whole(1, 2**16),
    "MODEL.UDA.MASK_DOMAINS": names("domain", lambda: ("source", "target"), empty=False),
    "MODEL.UDA.MASK_RATIO": fraction(),
    "MODEL.UDA.MASK_WEIGHT": number(),
    "MODEL.UDA.PHASES": names("phase", lambda: PHASES, empty=False),
    "MODEL.UDA.PSEUDO_THRESHOLD": fraction(),
    "MODEL.UDA.TARGET_FEATURE_LOSSES": names("loss", _losses),
    "MODEL.UDA.TEACHER_ALPHA": fraction(),
}

# of detectron2's own encoders and head, which the names above may choose
NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "LN", "naiveSyncBN", "naiveSyncBN_N", "nnSyncBN")
DETECTRON2: dict[str, Kind] = {
    "MODEL.FPN.FUSE_TYPE": one_of("sum", "avg"),
    "MODEL.FPN.IN_FEATURES": maps_up_to("res5"),  # where its top level begins
    "MODEL.FPN.NORM": one_of(*NORMS),
    "MODEL.FPN.OUT_CHANNELS": whole(1, 2**12),
    "MODEL.RESNETS.DEPTH": one_number_of(18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": one_of(*NORMS),
    "MODEL.RESNETS.NUM_GROUPS": whole(1, 2**12),
    "MODEL.RESNETS.OUT_FEATURES": names("feature map", empty=False),
    "MODEL.RESNETS.RES2_OUT_CHANNELS": whole(1, 2**12),
    "MODEL.RESNETS.RES5_DILATION": one_number_of(1, 2),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": whole(1, 2**12),
    "MODEL.RESNETS.STRIDE_IN_1X1": switch(),
    "MODEL.RESNETS.WIDTH_PER_GROUP": whole(1, 2**12),
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": one_number_of(4, 8, 16, 32),
    "MODEL.SEM_SEG_HEAD.NORM": one_of(*NORMS),
}

SCHEDULE: dict[str, Kind] = {
    "SOLVER.AMP.ENABLED": switch(),
    "SOLVER.BACKWARD": one_of("phase", "loss", "sum"),
    "SOLVER.BASE_LR": number(0, 10),
    "SOLVER.CHECKPOINT_PERIOD": whole(),
    "SOLVER.HEAD_LR_MULTIPLIER": number(0, 1000),
    "SOLVER.IMAGE_PERIOD": whole(),
    "SOLVER.IMS_PER_BATCH": whole(1, 2**12),
    "SOLVER.LOG_PERIOD": whole(),
    "SOLVER.MAX_ITER": whole(1),
    "SOLVER.POLY_POWER": number(0, 100),
    "SOLVER.WARMUP_FACTOR": fraction(),
    "SOLVER.WARMUP_ITERS": whole(),
    "SOLVER.WEIGHT_DECAY": number(0, 1000),
    "SOLVER.WEIGHT_DECAY_NORM": number(0, 1000),
    "TEST.CLASSES": train_ids(),
    "TEST.EVAL_PERIOD": whole(),
    "TEST.EXPECTED_RESULTS": expected_results(),
    "TEST.EXPORT": names("format"),
    "TEST.PICTURES": whole(),
    "TEST.PRECISE_BN.ENABLED": switch(),
    "TEST.PRECISE_BN.NUM_ITER": whole(1, 10000),
    "TEST.STRIDE": pixels("height", "width", empty=True),
    "TEST.WINDOW": pixels("height", "width", empty=True),
}

TABLE: dict[str, Kind] = {**GENERAL, **DATA, **NETWORK, **METHOD, **DETECTRON2, **SCHEDULE}
