import json

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from safetensors.torch import save_file
from torch import nn

from copt_d2 import add_copt_config
from copt_d2.errors import InputError
from copt_d2.modeling.losses import (
    LOSS_REGISTRY,
    CoPTLoss,
    FeatureDistanceLoss,
    build_feature_losses,
)

NAMES = ["road", "pole", "car"]


class TinyBackbone(Backbone):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 9, 3, stride=32)

    def forward(self, images):
        return {"res5": self.conv(images)}

    def output_shape(self):
        return {"res5": ShapeSpec(channels=9, stride=32)}


@pytest.fixture
def data_set():
    name = "loss_registry_train"
    MetadataCatalog.get(name).set(stuff_classes=NAMES, thing_train_ids=[1, 2])
    yield name
    MetadataCatalog.remove(name)


@pytest.fixture
def cfg(data_set, tmp_path):
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.DATASETS.TRAIN = (data_set,)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.COPT.TEXT_BANK = str(tmp_path / "bank.safetensors")
    text = torch.arange(12.0).view(3, 4).sin()
    metadata = {"class_names": json.dumps(NAMES), "templates": "[]", "encoder": "", "averaging": ""}
    save_file({"text_embeddings": text}, cfg.MODEL.COPT.TEXT_BANK, metadata)
    return cfg


def test_registry_holds_both_losses():
    assert {name for name, _ in LOSS_REGISTRY} >= {"CoPTLoss", "FeatureDistanceLoss"}


def test_losses_are_built_by_key_in_the_order_of_the_config(cfg):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss", "FeatureDistanceLoss")
    losses = build_feature_losses(cfg, encoder=TinyBackbone())
    assert list(losses) == ["copt", "feature_distance"]
    assert isinstance(losses["copt"], CoPTLoss)
    assert isinstance(losses["feature_distance"], FeatureDistanceLoss)
    cfg.MODEL.UDA.FEATURE_LOSSES = ()
    assert len(build_feature_losses(cfg, encoder=TinyBackbone())) == 0


def test_copt_reads_its_options(cfg):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss",)
    options = {
        "POOLING": "area",
        "METRIC": "l1",
        "DECAY": 0.25,
        "BANK_INIT": "first",
        "WEIGHT": 0.5,
    }
    for key, value in options.items():
        cfg.MODEL.COPT[key] = value
    loss = build_feature_losses(cfg, encoder=TinyBackbone())["copt"]
    assert loss.memory_bank.shape == (3, 9)
    assert torch.equal(loss.text_embeddings, torch.arange(12.0).view(3, 4).sin())
    assert (loss.pooling, loss.metric, loss.decay) == ("area", "l1", 0.25)
    assert (loss.bank_init, loss.weight) == ("first", 0.5)


def test_feature_distance_reads_its_options_and_freezes_a_copy(cfg):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("FeatureDistanceLoss",)
    encoder = TinyBackbone()
    loss = build_feature_losses(cfg, encoder=encoder)["feature_distance"]
    assert loss.classes.tolist() == [1, 2]  # the data set's things
    assert (loss.weight, loss.min_ratio) == (0.005, 0.75)
    assert torch.equal(loss.frozen_encoder.conv.weight, encoder.conv.weight)
    assert not loss.frozen_encoder.conv.weight.requires_grad
    assert encoder.conv.weight.requires_grad
    assert encoder.training
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = [0]
    cfg.MODEL.UDA.FEATURE_DISTANCE.MIN_RATIO = 0.5
    loss = build_feature_losses(cfg, encoder=encoder)["feature_distance"]
    assert loss.classes.tolist() == [0]
    assert loss.min_ratio == 0.5


def test_a_feature_distance_without_things_is_told(cfg, data_set, caplog):
    MetadataCatalog.get(data_set).thing_train_ids.clear()
    cfg.MODEL.UDA.FEATURE_LOSSES = ("FeatureDistanceLoss",)
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = [1]
    build_feature_losses(cfg, encoder=TinyBackbone())
    assert "FEATURE_DISTANCE" not in caplog.text
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = []
    build_feature_losses(cfg, encoder=TinyBackbone())
    assert "no thing classes and MODEL.UDA.FEATURE_DISTANCE.CLASSES is empty" in caplog.text


def test_unknown_and_repeated_names_are_named(cfg):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoptLoss",)
    message = r"FEATURE_LOSSES: unknown loss 'CoptLoss'.*CoPTLoss, FeatureDistanceLoss"
    with pytest.raises(InputError, match=message):
        build_feature_losses(cfg, encoder=TinyBackbone())
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss", "CoPTLoss")
    with pytest.raises(InputError, match="'CoPTLoss' stands twice"):
        build_feature_losses(cfg, encoder=TinyBackbone())


def test_class_names_must_match_the_bank_and_the_head(cfg):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss",)
    cfg.MODEL.COPT.CLASS_NAMES = ["road", "car", "pole"]
    with pytest.raises(InputError, match=r"the model have the same classes in another order"):
        build_feature_losses(cfg, encoder=TinyBackbone())
    cfg.MODEL.COPT.CLASS_NAMES = ["road", "pole"]
    with pytest.raises(InputError, match=r"CLASS_NAMES: 2 names .*NUM_CLASSES = 3"):
        build_feature_losses(cfg, encoder=TinyBackbone())


def test_missing_metadata_names_the_key_to_set(cfg, data_set):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("FeatureDistanceLoss",)
    MetadataCatalog.remove(data_set)
    MetadataCatalog.get(data_set)
    with pytest.raises(InputError, match=r"FEATURE_DISTANCE.CLASSES is empty .*thing_train_ids"):
        build_feature_losses(cfg, encoder=TinyBackbone())
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(InputError, match=r"DATASETS.TRAIN names no data set"):
        build_feature_losses(cfg, encoder=TinyBackbone())


@pytest.mark.parametrize(
    ("key", "value"), [("METRIC", "dot"), ("POOLING", "max"), ("BANK_INIT", "x"), ("DECAY", 1.0)]
)
def test_wrong_options_are_input_errors(cfg, key, value):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss",)
    cfg.MODEL.COPT[key] = value
    with pytest.raises(InputError, match=f"MODEL.COPT.{key}"):
        build_feature_losses(cfg, encoder=TinyBackbone())
