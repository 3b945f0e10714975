import logging

import numpy as np
import pytest
from detectron2.utils import comm

from copt_d2.data import build_uda_train_loader, class_presence, class_statistics
from copt_d2.data.class_presence import tell_absent_classes
from copt_d2.errors import InputError

NAMES = ["sky", "building", "pole", "road", "pavement", "tree"]
NAMES += ["sign symbol", "fence", "car", "pedestrian", "bicyclist"]


@pytest.fixture
def warnings_of(cfg, caplog):
    """The warnings of building the training loader."""

    def build(rare_class, **options):
        cfg.DATALOADER.RARE_CLASS.ENABLED = rare_class
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="copt_d2"):
            build_uda_train_loader(cfg, **options)
        return [record.message for record in caplog.records if record.levelname == "WARNING"]

    return build


def write_days(folder, *images):
    for number, labels in enumerate(images):
        folder.camvid_pair("train", f"0006R0_{number:03}", labels, seed=number)
    folder.image("camvid/train/0001TP_000.png")


@pytest.mark.parametrize("rare_class", [True, False])
def test_classes_without_a_pixel_are_named_in_one_line(day_and_dusk, warnings_of, rare_class):
    (line,) = warnings_of(rare_class)
    absent = [f"'{name}' ({k})" for k, name in enumerate(NAMES) if k not in (0, 3, 8)]
    assert f"DATASETS.TRAIN has a pixel of the classes {', '.join(absent)}: not" in line


@pytest.mark.parametrize("rare_class", [True, False])
def test_a_second_loader_of_a_run_says_nothing(day_and_dusk, warnings_of, rare_class):
    assert warnings_of(rare_class, tell=False) == []


@pytest.mark.parametrize("rare_class", [True, False])
def test_one_class(folder, warnings_of, rare_class):
    labels = np.arange(200).reshape(10, 20) % 11  # of all classes
    labels[labels == 9] = 11  # but pedestrians, which are stored as unlabelled
    write_days(folder, np.repeat(labels, 11, axis=0))
    (line,) = warnings_of(rare_class)
    assert "has a pixel of class 'pedestrian' (9): not learned here" in line


@pytest.mark.parametrize("rare_class", [True, False])
def test_a_single_class_that_is_left(folder, warnings_of, rare_class):
    write_days(folder, np.full((19, 27), 3))
    (line,) = warnings_of(rare_class)
    assert line.endswith("; 'road' alone is left, and nothing can be told apart")


@pytest.mark.parametrize("rare_class", [True, False])
def test_no_class_at_all_is_an_error(folder, warnings_of, rare_class):
    write_days(folder, np.full((19, 27), 11))
    with pytest.raises(InputError, match=r"no label file of DATASETS.TRAIN has a pixel of any"):
        warnings_of(rare_class)


def test_without_statistics_some_files_suffice_where_they_show_all_classes(
    folder, warnings_of, monkeypatch
):
    def refuse(*_args):
        raise AssertionError("all label files are counted")

    write_days(folder, *[np.arange(12 * 20).reshape(12, 20) % 12] * 3)
    monkeypatch.setattr(class_statistics, "count_pixels", refuse)
    assert warnings_of(rare_class=False) == []


def test_a_rare_class_is_found_in_the_counts_which_are_kept(folder, warnings_of, monkeypatch):
    common, rare = np.arange(240).reshape(12, 20) % 12, np.full((12, 20), 7)
    common[common == 7] = 11
    write_days(folder, common, rare, common)
    monkeypatch.setattr(class_presence, "_FIRST_LOOK", 2)  # the first and the last
    assert warnings_of(rare_class=False) == []
    monkeypatch.setattr(class_statistics, "count_pixels", None)
    assert warnings_of(rare_class=False) == []


def test_the_first_process_alone_tells(day_and_dusk, warnings_of, monkeypatch):
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert warnings_of(rare_class=False) == []


@pytest.mark.parametrize(
    ("classes", "told"), [([], True), ([6, 9], True), ([6, 8], False), ([3], False)]
)
def test_a_feature_distance_of_absent_classes(cfg, caplog, classes, told):
    cfg.MODEL.UDA.FEATURE_LOSSES = ("FeatureDistanceLoss",)
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = classes
    totals = np.ones(11, dtype=np.int64)
    totals[[6, 9, 10]] = 0
    totals[8] = 0 if not classes else 5  # the things of CamVid are 6, 8, 9, 10
    tell_absent_classes(cfg, totals)
    assert ("its loss stays 0" in caplog.text) == told
    cfg.MODEL.UDA.FEATURE_LOSSES = ()
    caplog.clear()
    tell_absent_classes(cfg, totals)
    assert "its loss stays 0" not in caplog.text
