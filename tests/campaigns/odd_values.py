"""The values that the campaign over config values gives to each key."""

import record_keys

from copt_d2.engine.config_keys import defaults

NAN, INF = float("nan"), float("inf")
# beginning of keys -> what else must be set so that they matter
CONTEXTS = {
    "MODEL.HRDA.": {"MODEL.HRDA.ENABLED": True},
    "MODEL.MIT.": {"MODEL.BACKBONE.NAME": "build_mit_backbone"},
    "MODEL.RESNETS.": {"MODEL.BACKBONE.NAME": "build_resnet_backbone", **record_keys.RESNET},
    "MODEL.FPN.": {"MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone", **record_keys.FPN},
    "MODEL.SEM_SEG_HEAD.NORM": {"MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHead"},
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": {
        "MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHead",
        "MODEL.SEM_SEG_HEAD.NORM": "BN",
    },
    "TEST.PRECISE_BN.": {"TEST.PRECISE_BN.ENABLED": True},
    "TEST.STRIDE": {"TEST.WINDOW": [64, 64]},
    **{f"MODEL.COPT.{name}": {"MODEL.COPT.TEXT_BANK": ""} for name in record_keys.OF_THE_BANK},
    "MODEL.COPT.ENCODER": {"MODEL.COPT.TEXT_BANK": ""},
}
# key -> values that fit it alone and may not fit the rest
SPECIAL = {
    "INPUT.CROP.SIZE": [[1, 1], [1, 64], [8, 8], [31, 33], [128, 128]],
    "INPUT.SCALE_RANGE": [[0.01, 0.01], [0.01, 8.0], [1.0, 0.5]],
    "INPUT.VALID_MARGINS": [[64, 0, 0, 0], [32, 32, 0, 0], [0, 0, 96, 0], [0, 0, 65536, 65536]],
    "MODEL.BACKBONE.FREEZE_AT": [1, 2, 3, 4, 5],
    "MODEL.BACKBONE.NAME": ["build_mit_backbone", "build_resnet_backbone"],
    "MODEL.COPT.CLASS_NAMES": [["a"] * 11, [str(k) for k in range(11)], [["a", "b"]] * 11],
    "MODEL.COPT.ENCODER": ["open_clip:", "hf:", "sentence_transformers:x/y", ":", "hf:../.."],
    "MODEL.DEVICE": ["meta", "cpu:0", "cpu:7", "cuda:99", "mps", "xla"],
    "MODEL.HRDA.CROP_SIZE": [16, 64, 128, 65536],
    "MODEL.META_ARCHITECTURE": ["SemanticSegmentor", "GeneralizedRCNN"],
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": [["res5", "res2"], ["res3", "res4"], ["res2"], ["res5"]],
    "MODEL.SEM_SEG_HEAD.NAME": ["SemSegFPNHead"],
    "MODEL.TIMM.NAME": ["vit_tiny_patch16_224", "vgg11", "timm/resnet10t", "hf-hub:x/y"],
    "MODEL.UDA.MASK_DOMAINS": [["source"], ["source", "target"]],
    "MODEL.UDA.PHASES": [["mixed"], ["masked"], ["source", "masked"], ["masked", "source"]],
    "TEST.CLASSES": [[0], [10], [11], list(range(11))],
    "TEST.EXPORT": [["train_ids", "color"], ["cityscapes"], ["acdc"]],
    "TEST.STRIDE": [[1, 64], [65, 64]],
    "TEST.WINDOW": [[64, 1], [65536, 65536]],
}
# kind of value -> the values of that kind that every key is given
ODD = {
    "null": [None],
    "wrong type": [True, 3, 2.5, "soon", ["soon"], [1, 2], {"A": 1}, [[1]], [None], [True, False]],
    "NaN": [NAN, [NAN, NAN, NAN]],
    "inf": [INF, -INF, [INF, 1.0]],
    "negative": [-1, -0.5, [-1, -1]],
    "zero": [0, 0.0, [0, 0]],
    "huge": [10**9, 10**30, 1e9, 1e308, "x" * 5000, [10**9, 10**9], list(range(300))],
    "empty": ["", " ", [], [""]],
}


def context_of(key):
    """What else must be set so that ``key`` matters."""
    found = {}
    for beginning, settings in CONTEXTS.items():
        if key.startswith(beginning):
            found.update(settings)
    return found


def odd_values(key):
    """(kind, value) of all that ``key`` is given: those of `ODD`, its own, and some made of its
    default.
    """
    yield from ((kind, value) for kind, values in ODD.items() for value in values)
    yield from (("special", value) for value in SPECIAL.get(key, ()))
    default = {**defaults(), **record_keys.TINY, **context_of(key)}[key]
    if isinstance(default, bool):
        yield from (("usual", True), ("usual", False))
    elif isinstance(default, int | float):
        yield from (("small", 1), ("small", 1.0), ("small", 1e-9), ("large", 2**16), ("large", 1e6))
    elif isinstance(default, str):
        yield from (("text", "x/y"), ("text", "a\nb"), ("text", "\0"), ("text", "é道路"))
    else:
        parts = list(default) or [1]
        yield from (("wrong length", parts[:-1]), ("wrong length", [*parts, parts[-1]]))
        yield from (("duplicate", parts * 2), ("duplicate", [parts[0], parts[0]]))
        yield ("floats", [float(part) if isinstance(part, int) else part for part in parts])
