import logging
import sys
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2.data.geometry import resized_size
from copt_d2.engine import check_config, load_config
from copt_d2.engine.config_files import config_changes
from copt_d2.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from own_drawings import draw, write_description

ROOT = Path(__file__).resolve().parents[2]
OWN = str(ROOT / "configs" / "own_data.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def file(folder):
    return str(write_description(folder))


def own(file, *overrides):
    return load_config(OWN, ["DATASETS.FILE", file, *overrides])


def message(file, *overrides):
    with pytest.raises(InputError) as raised:
        own(file, *overrides)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_a_description_fills_the_config(file):
    cfg = own(file)
    assert cfg.DATASETS.TRAIN == ("warehouse_source",)
    assert cfg.DATASETS.TARGET == ("warehouse_target",)
    assert cfg.DATASETS.TEST == ("warehouse_val",)
    assert cfg.DATASETS.TARGET_LABELED == ()
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 4
    words = ["floor", "wall", ["pallet", "wooden pallet"], ["person", "worker"]]
    assert words == cfg.MODEL.COPT.CLASS_NAMES
    assert list(cfg.MODEL.COPT.SOURCE_DOMAINS) == ["hand_crafted:computer-rendered warehouse"]
    assert list(cfg.MODEL.COPT.TARGET_DOMAINS) == ["hand_crafted:warehouse camera footage"]
    assert cfg.OUTPUT_DIR == "output/warehouse"
    assert file == cfg.DATASETS.FILE
    assert Path(file).read_text() == cfg.DATASETS.FILE_CONTENT
    assert list(MetadataCatalog.get("warehouse_val").thing_train_ids) == [2, 3]
    check_config(cfg)


def test_what_is_set_elsewhere_and_agrees_stays(file):
    cfg = own(file, "OUTPUT_DIR", "here", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4")
    assert cfg.OUTPUT_DIR == "here"
    assert own(file, "DATASETS.TEST", "()").DATASETS.TEST == ()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5", "says 4"),
        ("MODEL.COPT.CLASS_NAMES", "['a','b','c','d']", "says ['floor'"),
        ("MODEL.COPT.SOURCE_DOMAINS", "('rendered',)", "says ['hand_crafted:computer-rendered"),
        ("DATASETS.TRAIN", "('camvid_day_train',)", "has warehouse_source, "),
        ("DATASETS.TEST", "('camvid_day_val',)", "has warehouse_source, "),
    ],
)
def test_contradictions_name_both(file, key, value, said):
    text = message(file, key, value)
    assert text.startswith(f"command line: {key} is ")
    assert file in text
    assert said in text


def test_a_contradiction_in_a_file_names_that_file(file, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"_BASE_: {OWN}\nMODEL: {{SEM_SEG_HEAD: {{NUM_CLASSES: 19}}}}\n")
    with pytest.raises(InputError, match=f"^{config}: MODEL.SEM_SEG_HEAD.NUM_CLASSES is 19, but "):
        load_config(str(config), ["DATASETS.FILE", file])


def test_the_filled_config_works_again(file, tmp_path, monkeypatch):
    stored = tmp_path / "config.yaml"
    cfg = own(file)
    stored.write_text(cfg.dump())
    again = load_config(str(stored))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(cfg.dump())
    Path(file).rename(tmp_path / "elsewhere.yaml")
    DatasetCatalog.remove("warehouse_val")
    moved = load_config(str(stored))
    assert config_changes(cfg.dump(), moved) == []
    assert len(DatasetCatalog.get("warehouse_val")) == 2


def test_a_changed_description_contradicts_the_stored_config(file, tmp_path):
    stored = tmp_path / "config.yaml"
    stored.write_text(own(file).dump())
    path = Path(file)
    path.write_text(path.read_text().replace("name: floor", "name: ground"))
    with pytest.raises(InputError, match=r"config.yaml: MODEL.COPT.CLASS_NAMES is .*'floor'.*says"):
        load_config(str(stored))


def test_relative_paths_become_absolute(file, monkeypatch):
    monkeypatch.chdir(Path(file).parent)
    assert file == own("warehouse.yaml").DATASETS.FILE


def test_lists_of_templates_keep_their_names(folder):
    changes = {"computer-rendered warehouse": "rendered"}
    cfg = own(str(write_description(folder, **changes)))
    assert list(cfg.MODEL.COPT.SOURCE_DOMAINS) == ["rendered"]


def test_domains_that_are_not_said(folder, caplog):
    changes = {
        ", domain: computer-rendered warehouse": "",
        ", domain: warehouse camera footage": "",
    }
    file = str(write_description(folder, **changes))
    assert list(own(file).MODEL.COPT.SOURCE_DOMAINS) == ["hand_crafted:photo"]
    chosen = own(file, "MODEL.COPT.SOURCE_DOMAINS", "('rendered',)")
    assert list(chosen.MODEL.COPT.SOURCE_DOMAINS) == ["rendered"]


def test_without_things_there_is_no_feature_distance(folder, caplog):
    file = str(write_description(folder, **{", thing: true": ""}))
    with caplog.at_level(logging.INFO, "copt_d2"):
        cfg = own(file)
    assert list(cfg.MODEL.UDA.FEATURE_LOSSES) == ["CoPTLoss"]
    assert "goes without the feature distance" in caplog.text
    kept = own(file, "MODEL.UDA.FEATURE_DISTANCE.CLASSES", "[2]")
    assert "FeatureDistanceLoss" in kept.MODEL.UDA.FEATURE_LOSSES


def test_without_val_nothing_is_scored(folder, caplog):
    path = write_description(folder)
    path.write_text(path.read_text().partition("val:")[0])
    with caplog.at_level(logging.INFO, "copt_d2"):
        cfg = own(str(path))
    assert cfg.DATASETS.TEST == ()
    assert "nothing is scored" in caplog.text
    check_config(cfg)


def test_one_word_for_two_classes(folder):
    file = str(write_description(folder, **{"[person, worker]": "[person, pallet]"}))
    assert "the word 'pallet' stands for 'pallet' and for 'person'" in message(file)


def test_members_stand_for_a_list(folder):
    old = "source: {images: sim/rgb, masks: sim/ids, domain: computer-rendered warehouse}"
    new = (
        "source:\n- {images: sim/rgb, masks: sim/ids, weight: 3}\n"
        "- {images: camera/few, masks: camera/few_ids, weight: 1}"
    )
    path = write_description(folder)
    path.write_text(path.read_text().replace(old, new))
    members = ("warehouse_source_1", "warehouse_source_2")
    assert members == own(str(path)).DATASETS.TRAIN
    assert members == own(str(path), "DATASETS.TRAIN", "('warehouse_source',)").DATASETS.TRAIN
    assert MetadataCatalog.get("warehouse_source_1").weight == 3


def test_a_config_and_a_description_are_told_apart(file):
    with pytest.raises(InputError, match="is a description of data, no config"):
        load_config(file)
    assert "own_data.yaml is a config, not a data description" in message(OWN)


def test_a_description_that_is_not_there(tmp_path):
    assert "nowhere.yaml cannot be read" in message(str(tmp_path / "nowhere.yaml"))


def test_content_without_a_file_is_refused():
    with pytest.raises(InputError, match=r"DATASETS\.FILE is empty"):
        load_config(OWN, ["DATASETS.FILE_CONTENT", "classes"])


@pytest.mark.parametrize("value", ["36", "[36]", "(36,)"])
def test_one_number_is_the_short_side(file, value):
    cfg = own(file, "INPUT.SOURCE_RESIZE", value)
    assert list(cfg.INPUT.SOURCE_RESIZE) == [36]
    assert resized_size((72, 96), tuple(cfg.INPUT.SOURCE_RESIZE)) == (36, 48)
    assert resized_size((96, 72), (36,), 2.0) == (96, 72)


def test_one_number_in_a_file(file, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"_BASE_: {OWN}\nINPUT: {{TEST_RESIZE: 360}}\n")
    assert list(load_config(str(config)).INPUT.TEST_RESIZE) == [360]


def test_a_smaller_image_gets_a_smaller_crop(file, caplog):
    whole = own(file)
    assert whole.INPUT.CROP.SIZE == [256, 320]
    # 3000 pixels of 1024x1024
    assert whole.DATALOADER.RARE_CLASS.MIN_PIXELS == round(3000 * 256 * 320 / 1024**2) == 234
    with caplog.at_level(logging.INFO, "copt_d2"):
        cfg = own(file, "INPUT.TARGET_RESIZE", "()")
    # 72 x 96 as stored: the multiples of 32 that fit
    assert cfg.INPUT.CROP.SIZE == [64, 96]
    assert round(3000 * 64 * 96 / 1024**2) == cfg.DATALOADER.RARE_CLASS.MIN_PIXELS
    assert caplog.text.count("crops are (64, 96)") == 1
