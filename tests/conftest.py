"""What the tests of several parts share: one thread, a tiny configuration, a text bank file."""

import importlib.util
import json
import logging
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.utils.logger import setup_logger
from safetensors.torch import save_file

from copt_d2 import add_copt_config

TOOLS = Path(__file__).resolve().parents[1] / "tools"
CLASS_NAMES = ("road", "car", "tree", "person", "sky")


def pytest_configure():
    # tiny tensors: several threads cost more than they bring
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config, items):
    """Tests marked `long` run where they are asked for: `make test-long`, or -m with their name."""
    if "long" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def _seeds():
    """Each test has the same random numbers whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logs():
    """A run in this process leaves handlers, and loggers that pytest does not hear."""
    yield
    for name in ("copt_d2", "detectron2", "fvcore"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    setup_logger.cache_clear()


@pytest.fixture(scope="session")
def load_tool():
    """Loads a script of tools/ as a module, anew at each call."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look for it
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def bank_file(tmp_path):
    """A text bank of the five classes of ``tiny_cfg``."""
    rows = torch.randn(len(CLASS_NAMES), 8, generator=torch.Generator().manual_seed(3))
    metadata = {
        "class_names": json.dumps(CLASS_NAMES),
        "templates": json.dumps(["a photo of a {}"]),
        "encoder": "test",
        "averaging": "none",
    }
    path = tmp_path / "bank.safetensors"
    save_file({"text_embeddings": rows}, path, metadata)
    return path


@pytest.fixture
def tiny_cfg(bank_file):
    """All phases and feature losses on a small random encoder, five classes, crops of 64x96."""
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.TIMM.NAME = "test_efficientnet"
    cfg.MODEL.TIMM.WEIGHTS = ""
    cfg.MODEL.TIMM.FREEZE_NORM = False
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(CLASS_NAMES)
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 8
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.0
    cfg.MODEL.UDA.PHASES = ("source", "mixed", "masked")
    cfg.MODEL.UDA.FEATURE_LOSSES = ("FeatureDistanceLoss", "CoPTLoss")
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = [1, 3]
    cfg.MODEL.UDA.MASK_BLOCK_SIZE = 16
    cfg.MODEL.COPT.TEXT_BANK = str(bank_file)
    cfg.MODEL.COPT.CLASS_NAMES = list(CLASS_NAMES)
    cfg.INPUT.CROP.SIZE = [64, 96]
    return cfg
