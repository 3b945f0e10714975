"""Records which of detectron2's config keys a run reads, and writes the list that the package has.

python tests/integration/record_keys.py    # writes copt_d2/engine/keys_read.json anew

Runs of seconds on drawn frames: one for every config of configs/ that differs in more than sizes
and data, some with switches that no config uses, and one for every registered encoder, head and
loss. What counts is that code asks for a single value; merging, checking and writing a config read
it as a whole and do not count.
"""

import copy
import json
import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import command_line  # noqa: F401  isort: skip  (makes the training script importable)

import torch
import train_net
from camvid_drawings import draw_camvid
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from safetensors.torch import save_file

from copt_d2.data.label_spaces import CAMVID
from copt_d2.engine import load_config
from copt_d2.engine.config_keys import dotted_values
from copt_d2.engine.config_names import config_names
from copt_d2.modeling.losses import LOSS_REGISTRY

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "copt_d2" / "engine" / "keys_read.json"
CONFIGS = [ROOT / "configs" / f"{name}.yaml" for name in config_names()]
SMOKE = ROOT / "configs" / "smoke" / "camvid_smoke.yaml"
# detectron2's heads ask for them, for losses of their own that nobody calls here
IN_VAIN = {
    *("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"),
    # deformable convolutions need a compiled module that is not installed
    *(f"MODEL.RESNETS.DEFORM_{name}" for name in ("MODULATED", "NUM_GROUPS", "ON_PER_STAGE")),
}

# what makes any config a run of two steps
TINY = {
    "DATASETS.TRAIN": ("camvid_day_train",),
    "DATASETS.TARGET": ("camvid_dusk_train",),
    "DATASETS.TEST": ("camvid_day_val",),
    "DATALOADER.NUM_WORKERS": 0,
    "DATALOADER.RARE_CLASS.MIN_PIXELS": 20,
    "INPUT.CROP.SIZE": [64, 64],
    "INPUT.SOURCE_RESIZE": (),
    "INPUT.TARGET_RESIZE": (),
    "INPUT.TEST_RESIZE": (),
    "INPUT.VALID_MARGINS": (0, 0, 0, 0),
    "MODEL.DEVICE": "cpu",
    "MODEL.MIT.VARIANT": "b0",
    "MODEL.MIT.WEIGHTS": "",
    "MODEL.TIMM.NAME": "test_efficientnet",
    "MODEL.TIMM.WEIGHTS": "",
    "MODEL.HRDA.CROP_SIZE": 32,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 11,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 8,
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.UDA.FEATURE_DISTANCE.CLASSES": [],
    "MODEL.UDA.IGNORE_TOP": 0,
    "MODEL.UDA.IGNORE_BOTTOM": 0,
    "MODEL.UDA.MASK_BLOCK_SIZE": 16,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.MAX_ITER": 2,
    "SOLVER.WARMUP_ITERS": 1,
    "SOLVER.CHECKPOINT_PERIOD": 0,
    "SOLVER.LOG_PERIOD": 1,
    "SOLVER.IMAGE_PERIOD": 1,
    "TEST.CLASSES": [],
    "TEST.EVAL_PERIOD": 0,
    "TEST.PICTURES": 1,
    "TEST.EXPECTED_RESULTS": [],
}
# that say how the text bank is made, which is there already
OF_THE_BANK = (
    *("CLASS_NAMES", "SOURCE_DOMAINS", "TARGET_DOMAINS", "TEMPLATES", "ARTICLE", "AVERAGING"),
    *("NORMALIZE_PROMPTS", "ENCODER"),
)
# switches that no config of configs/ uses
SWITCHES = (
    {
        "TEST.PRECISE_BN.ENABLED": True,
        "TEST.PRECISE_BN.NUM_ITER": 1,
        "MODEL.TIMM.FREEZE_NORM": False,
    },
    {"SOLVER.AMP.ENABLED": True},
    {"TEST.EXPORT": ("train_ids",), "TEST.WINDOW": (64, 64), "TEST.STRIDE": (32, 32)},
)
RESNET = {
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
}
FPN = {
    **RESNET,
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.UDA.FEATURE_LOSSES": (),  # they look at res5
}
RETINA = {
    **FPN,
    "MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["p3", "p4", "p5"],
}
# what an encoder or head needs beside its name
NEEDS = {
    "build_resnet_backbone": RESNET,
    "build_resnet_fpn_backbone": FPN,
    "build_retinanet_resnet_fpn_backbone": RETINA,
    "SemSegFPNHead": {"MODEL.SEM_SEG_HEAD.NORM": "BN"},
}
REGISTRIES = {
    "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
    "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
    "MODEL.SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY,
    "MODEL.UDA.FEATURE_LOSSES": LOSS_REGISTRY,
}


class RecordingNode(CfgNode):
    """A config that notes the dotted name of every single value that is asked for."""

    def __init__(self, node, reads, prefix=""):
        super().__init__()
        self.__dict__.update(reads=reads, prefix=prefix)
        for key, value in node.items():
            inside = isinstance(value, CfgNode)
            self[key] = RecordingNode(value, reads, f"{prefix}{key}.") if inside else value

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if not isinstance(value, CfgNode):
            self.__dict__["reads"].add(self.__dict__["prefix"] + key)
        return value

    def __deepcopy__(self, memo):
        plain = {key: copy.deepcopy(value, memo) for key, value in self.items()}
        return RecordingNode(plain, self.__dict__["reads"], self.__dict__["prefix"])


@contextmanager
def surroundings():
    """Drawn data, a text bank, and the environment that names them; yields the folder."""
    with tempfile.TemporaryDirectory() as folder:
        draw_camvid(folder, day=4, dusk=2, val=1)
        rows = torch.randn(11, 16, generator=torch.Generator().manual_seed(0))
        metadata = {"class_names": json.dumps(list(CAMVID.classes)), "templates": "[]"}
        metadata.update(encoder="test", averaging="none")
        save_file({"text_embeddings": rows}, f"{folder}/bank.safetensors", metadata)
        there = {"DETECTRON2_DATASETS": folder, "COPT_D2_CACHE": f"{folder}/cache"}
        with patch.dict(os.environ, there):
            yield Path(folder)


def tiny_config(file, changes=()):
    """A config with the sizes and data of ``TINY``, set without a look at what has an effect."""
    cfg = load_config(str(file))
    defaults = get_cfg()
    train_net.copt_d2.add_copt_config(defaults)
    for name in OF_THE_BANK:
        cfg.MODEL.COPT[name] = defaults.MODEL.COPT[name]
    for key, value in {**TINY, **dict(changes)}.items():
        cfg.merge_from_list([key, value])
    return cfg


def keys_of_run(cfg, folder):
    """Dotted names of all keys that training and evaluating with ``cfg`` reads."""
    reads = set()
    cfg.MODEL.COPT.TEXT_BANK = str(folder / "bank.safetensors")
    cfg.OUTPUT_DIR = str(Path(tempfile.mkdtemp(dir=folder)))
    recording = RecordingNode(cfg, reads)
    arguments = train_net.argument_parser().parse_args(["--config-file", "recorded"])
    with (
        patch.object(train_net, "load_config", lambda *_: recording),
        patch.object(train_net, "check_config", lambda *_, **__: None),
    ):
        train_net.main(arguments)
    return reads


def distinct_configs():
    """One config of all those that become the same with ``TINY``."""
    found = {}
    for file in CONFIGS:
        cfg = tiny_config(file)
        cfg.OUTPUT_DIR = ""
        found.setdefault(cfg.dump(), cfg)
    return list(found.values())


def shipped(registry):
    """Names of the parts that detectron2 and this project bring, whatever else is registered."""
    packages = ("detectron2.", "copt_d2.")
    return sorted(name for name, part in registry if part.__module__.startswith(packages))


def trainable(key):
    """Names of the parts that a run can have."""
    parts = shipped(REGISTRIES[key])
    if key == "MODEL.META_ARCHITECTURE":
        return [name for name in parts if hasattr(META_ARCH_REGISTRY.get(name), "training_phases")]
    return parts


def record_everywhere(folder, configs):
    """detectron2's keys that runs of this project's own parts read."""
    stock = {key for key, _ in dotted_values(get_cfg())}
    runs = [*configs, *(tiny_config(SMOKE, changes) for changes in SWITCHES)]
    return sorted(stock & set().union(*(keys_of_run(cfg, folder) for cfg in runs)))


def record_parts(folder, everywhere):
    """Key of a part -> its names -> detectron2's keys that it reads beyond those of all runs."""
    stock = {key for key, _ in dotted_values(get_cfg())}
    found = {}
    for key in REGISTRIES:
        found[key] = {}
        for name in trainable(key):
            value = [name] if key.endswith("LOSSES") else name
            cfg = tiny_config(SMOKE, {key: value, **NEEDS.get(name, {})})
            found[key][name] = sorted(
                (keys_of_run(cfg, folder) & stock) - set(everywhere) - IN_VAIN
            )
    return found


def main():
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    with surroundings() as folder:
        everywhere = record_everywhere(folder, distinct_configs())
        recorded = {"everywhere": everywhere, "parts": record_parts(folder, everywhere)}
    FILE.write_text(json.dumps(recorded, indent=2) + "\n")
    print(f"{FILE}: {len(everywhere)} keys everywhere")


if __name__ == "__main__":
    main()
