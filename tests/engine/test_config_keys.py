"""Keys of detectron2 that do nothing here are refused, and the nearest one that works is told."""

import pytest
from detectron2.config import get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

from copt_d2 import add_copt_config
from copt_d2.engine import check_config, load_config
from copt_d2.engine.checks import WITHOUT_EFFECT
from copt_d2.engine.config_keys import (
    INSTEAD,
    PARTS,
    check_keys,
    detectron2_keys,
    keys_read,
    keys_with_effect,
)
from copt_d2.engine.config_values import TABLE
from copt_d2.errors import InputError
from copt_d2.modeling.losses import LOSS_REGISTRY


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_copt_config(cfg)
    return cfg


def said(cfg, *pairs):
    cfg.merge_from_list(list(pairs))
    with pytest.raises(InputError) as raised:
        check_keys(cfg)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", 0, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"),
        ("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", 0.0, "MODEL.HRDA.DETAIL_LOSS_WEIGHT"),
        ("SOLVER.STEPS", (5,), "SOLVER.POLY_POWER"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 5.0, "SOLVER.BASE_LR"),
        ("INPUT.MIN_SIZE_TEST", 400, "INPUT.TEST_RESIZE"),
        ("INPUT.FORMAT", "BGR", "MODEL.PIXEL_MEAN"),
        ("TEST.AUG.FLIP", False, "TEST.WINDOW"),
        ("DATALOADER.REPEAT_SQRT", False, "DATALOADER.RARE_CLASS.TEMPERATURE"),
        ("MODEL.ROI_HEADS.NUM_CLASSES", 5, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"),
        ("MODEL.RPN.IN_FEATURES", ["res2"], "MODEL.SEM_SEG_HEAD.IN_FEATURES"),
    ],
)
def test_a_key_without_effect(cfg, key, value, instead):
    dict.__setitem__(cfg, "OUTPUT_DIR", "elsewhere")  # set, and read
    text = said(cfg, key, value)
    assert text == (
        f"{key} is {value!r}, but it has no effect here: remove it; the nearest key that works is "
        f"{instead}"
    )


def test_its_default_may_be_set(cfg):
    cfg.merge_from_list(["SOLVER.STEPS", [30000], "SOLVER.GAMMA", 0.1, "VERSION", 2])
    cfg.SOLVER.STEPS = [30000]  # a list is as good as the default's tuple
    cfg.CUDNN_BENCHMARK = True
    check_keys(cfg)


@pytest.mark.parametrize(
    ("key", "value", "reader"),
    [
        ("MODEL.SEM_SEG_HEAD.NORM", "SyncBN", "MODEL.SEM_SEG_HEAD.NAME SemSegFPNHead"),
        ("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 8, "MODEL.SEM_SEG_HEAD.NAME SemSegFPNHead"),
        ("MODEL.RESNETS.DEPTH", 101, "MODEL.BACKBONE.NAME build_resnet_backbone"),
        ("MODEL.FPN.OUT_CHANNELS", 64, "MODEL.BACKBONE.NAME build_resnet_fpn_backbone"),
    ],
)
def test_a_key_of_a_part_that_is_not_chosen(cfg, key, value, reader):
    assert f"no effect here without {reader}: remove it" in said(cfg, key, value)
    part, name = reader.split()
    cfg.merge_from_list([part, name])
    check_keys(cfg)


def test_every_way_to_a_run_looks_at_keys(cfg, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("SOLVER: {GAMMA: 0.5}\n")
    with pytest.raises(InputError, match=r"SOLVER.GAMMA is 0.5, but it has no effect"):
        load_config(str(file))
    cfg.SOLVER.GAMMA = 0.5
    with pytest.raises(InputError, match=r"SOLVER.GAMMA is 0.5, but it has no effect"):
        check_config(cfg)
    file.write_text("SOLVER: {GAMA: 0.5}\n")
    with pytest.raises(InputError) as raised:
        load_config(str(file))
    assert "GAMMA" not in str(raised.value)  # is not suggested either


@pytest.fixture
def foreign():
    """Registers a part of somebody else's; it is gone afterwards."""
    added = []

    def register(registry, part):
        registry.register(part)
        added.append((registry, part.__name__))

    yield register
    for registry, name in added:
        del registry._obj_map[name]


def test_a_part_of_others_may_read_any_key_of_a_model(cfg, foreign):
    def build_their_backbone(cfg, input_shape):
        pass

    foreign(BACKBONE_REGISTRY, build_their_backbone)
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "build_their_backbone", "MODEL.RESNETS.DEPTH", 18])
    check_keys(cfg)
    assert said(cfg, "SOLVER.GAMMA", 0.5).startswith("SOLVER.GAMMA is 0.5, but it has no effect")


@pytest.mark.parametrize("key", ["MODEL.META_ARCHITECTURE", "MODEL.UDA.TARGET_FEATURE_LOSSES"])
def test_a_part_of_others_can_say_what_it_reads(cfg, foreign, key):
    class TheirPart:
        config_keys = ("SOLVER.GAMMA", "MODEL.RESNETS.DEPTH")

    foreign(PARTS[key], TheirPart)
    cfg.merge_from_list([key, "TheirPart" if key.endswith("URE") else ["TheirPart"]])
    cfg.merge_from_list(["SOLVER.GAMMA", 0.5, "MODEL.RESNETS.DEPTH", 18])
    check_keys(cfg)
    assert said(cfg, "MODEL.RESNETS.NORM", "BN").startswith("MODEL.RESNETS.NORM is 'BN', but")


def test_a_key_that_others_have_added(cfg):
    cfg.MODEL.THEIRS = 5
    check_keys(cfg)


def test_the_hand_table_leads_from_keys_of_detectron2_to_keys_that_work(cfg):
    working = keys_with_effect(cfg)
    for key, instead in INSTEAD.items():
        assert any(known.startswith(key) for known in detectron2_keys()), key
        assert instead in working, key


def test_every_key_that_is_read_has_a_row():
    parts = keys_read()["parts"].values()
    read = {key for names in parts for keys in names.values() for key in keys}
    assert read | set(keys_read()["everywhere"]) <= set(TABLE)


def test_our_parts_are_recorded():
    parts = keys_read()["parts"]
    assert set(parts["MODEL.UDA.FEATURE_LOSSES"]) <= {name for name, _ in LOSS_REGISTRY}
    assert set(parts["MODEL.META_ARCHITECTURE"]) <= {name for name, _ in META_ARCH_REGISTRY}


def test_keys_without_effect_are_those_that_are_refused():
    assert {"SOLVER.STEPS", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "VIS_PERIOD"} < set(WITHOUT_EFFECT)
    assert not {"SOLVER.MAX_ITER", "OUTPUT_DIR", "MODEL.SEM_SEG_HEAD.NORM"} & set(WITHOUT_EFFECT)
