import logging

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2 import add_copt_config
from copt_d2.data import register_dataset
from copt_d2.data.label_spaces import LabelSpace, train_id_table
from copt_d2.engine.class_checks import (
    check_class_names,
    check_format,
    check_stored_classes,
    checkpoint_identity,
)
from copt_d2.errors import InputError

SETS = {
    "classes_source": ("road", "sky", "car"),
    "classes_equal": ("road", "sky", "car"),
    "classes_order": ("sky", "road", "car"),
    "classes_other": ("road", "sky", "bus"),
}


@pytest.fixture
def cfg():
    """Trains on ``classes_source``; nothing lists the files of these data sets."""
    for name, names in SETS.items():
        space = LabelSpace(names, ((0, 0, 0), (9, 9, 9), (99, 99, 99)), (2,), train_id_table(3))
        register_dataset(name, lambda: [], space)
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.DATASETS.TRAIN = ("classes_source",)
    cfg.DATASETS.TEST = ("classes_equal",)
    yield cfg
    for name in SETS:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.mark.parametrize("key", ["TRAIN", "TARGET", "TEST"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("classes_order", "have the same classes in another order: class 0 is 'sky' .* 'road'"),
        ("classes_other", "have different classes: class 2 is 'bus' in the first and 'car' "),
    ],
)
def test_data_sets_of_other_classes_are_refused(cfg, key, name, told):
    cfg.DATASETS[key] = (*cfg.DATASETS[key], name)
    told = f"{name} in DATASETS.{key} and classes_source in DATASETS.TRAIN {told}"
    with pytest.raises(InputError, match=told):
        check_class_names(cfg)


def test_an_evaluation_compares_its_own_data_sets(cfg):
    check_class_names(cfg)
    cfg.DATASETS.TRAIN = ("classes_order", "nobody_knows_it")
    check_class_names(cfg, training=False)
    cfg.DATASETS.TEST = ("classes_equal", "classes_other")
    with pytest.raises(InputError, match=r"classes_other in DATASETS.TEST and classes_equal in"):
        check_class_names(cfg, training=False)


@pytest.mark.parametrize("classes", [[3], [-1], [0, 7], ["car"], [1.5]])
def test_a_feature_distance_of_no_classes(cfg, classes):
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = classes
    with pytest.raises(InputError, match=r"FEATURE_DISTANCE.CLASSES \[.*\] are no train ids of .*"):
        check_class_names(cfg)


def test_words_for_other_classes(cfg):
    cfg.MODEL.COPT.CLASS_NAMES = ["sky", "street", "car"]
    check_class_names(cfg)  # nothing reads them
    cfg.MODEL.UDA.FEATURE_LOSSES = ("CoPTLoss",)
    with pytest.raises(InputError, match="class 0 is 'sky', but 'sky' is class 1 of classes_sou"):
        check_class_names(cfg)
    cfg.MODEL.COPT.CLASS_NAMES = ["street", ["sky", "clouds"], "vehicle"]
    check_class_names(cfg)


def test_a_checkpoint_says_what_it_is(cfg):
    identity = checkpoint_identity(cfg)
    assert identity == {
        **{"format": 2, "classes": ["road", "sky", "car"], "things": identity["things"]},
        **{"colors": identity["colors"], "words": [["road"], ["sky"], ["car"]]},
    }
    assert [len(color) for color in identity["colors"]] == [3, 3, 3]
    cfg.MODEL.COPT.CLASS_NAMES = ["street", ["sky", "clouds"], "car"]
    assert checkpoint_identity(cfg)["words"] == [["street"], ["sky", "clouds"], ["car"]]


@pytest.mark.parametrize("number", [3, 99, "2", None])
def test_later_formats_are_refused(number):
    with pytest.raises(InputError, match=rf"checkpoint x\.pth has the format {number!r}, .*to 2"):
        check_format("x.pth", {"model": {}, "format": number})
    check_format("x.pth", {"format": number})  # of somebody else
    check_format("x.pth", {"model": {}})
    check_format("x.pth", {"model": {}, "format": 2})


@pytest.mark.parametrize("training", [True, False])
def test_a_checkpoint_of_other_classes(cfg, training):
    state = {"model": {}, "classes": ["road", "sky", "car"]}
    check_stored_classes("x.pth", state, cfg, training)
    used = "classes_source" if training else "classes_equal"
    for names, told in (
        (["car", "sky", "road"], "the same classes in another order: class 0 is 'road' .* 'car'"),
        (["road", "sky", "tram"], "different classes: class 2 is 'car' in the first and 'tram'"),
        (["road", "sky"], "has 2: class 2 is 'car' in the first and missing in"),
    ):
        with pytest.raises(InputError, match=rf"{used} .* the checkpoint x\.pth .*{told}"):
            check_stored_classes("x.pth", {**state, "classes": names}, cfg, training)
    for damaged in (7, "road", ["road", 1]):
        with pytest.raises(InputError, match=r"x\.pth is damaged: its class names are"):
            check_stored_classes("x.pth", {**state, "classes": damaged}, cfg, training)


def test_weights_without_names_are_noted_and_go_with_the_training_data(cfg, caplog):
    for state in ({"model": {}}, {"weight": 0, "classes": "a tensor"}):
        with caplog.at_level(logging.INFO, logger="copt_d2.classes"):
            check_stored_classes("x.pth", state, cfg, training=False)
        assert "x.pth holds no class names: only their number is compared" in caplog.text
    cfg.DATASETS.TEST = ("classes_order",)
    with pytest.raises(InputError, match=r"in another order.*DATASETS.TRAIN name what"):
        check_stored_classes("x.pth", {"model": {}}, cfg, training=False)
    cfg.DATASETS.TRAIN = ()
    check_stored_classes("x.pth", {"model": {}}, cfg, training=False)
