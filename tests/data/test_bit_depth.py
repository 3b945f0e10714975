"""16-bit images of cameras with fewer bits: one depth per data set, found once."""

import json
import os

import numpy as np
import pytest
import torch
from picture_files import RGB, encoded, png

from copt_d2.data import bit_depth as module
from copt_d2.data import build_uda_test_loader, build_uda_train_loader
from copt_d2.data.bit_depth import adopt_bit_depths, find_bit_depth, record_bit_depths
from copt_d2.errors import InputError

DARK, BRIGHT = 600, 3000  # of a camera with 12 bits
SOURCE, TARGET, TEST = "camvid_day_train", "camvid_dusk_train", "camvid_dusk_test"


@pytest.fixture
def write(folder):
    """Writes an image of one value, of 16 bits if asked for, and returns its path."""

    def call(name, value, bits=16):
        path = folder.root / "camvid" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(np.full((19, 27, 3), value), bits, RGB))
        return str(path)

    return call


@pytest.fixture
def camera(folder, write, cfg):
    """An 8-bit source, a target of 12 bits, and a test set that is dark."""
    labels = np.zeros((19, 27), np.uint8)
    labels[9:] = 3
    folder.camvid_pair("train", "0006R0_0", labels)
    for i, value in enumerate((DARK, BRIGHT)):
        write(f"train/0001TP_{i}.png", value)
    write("test/0001TP_0.png", DARK)
    folder.label("camvid/testannot/0001TP_0.png", labels)
    cfg.DATASETS.TEST = (TEST,)
    return cfg


@pytest.mark.parametrize(
    ("largest", "depth"),
    [(0, 10), (255, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (16384, 16)],
)
def test_the_smallest_depth_that_holds_the_largest_value(write, largest, depth):
    files = [write("a.png", largest // 2), write("b.png", largest), write("c.png", 255, bits=8)]
    assert find_bit_depth("own", files) == depth
    tiff = files[0].replace("a.png", "a.tiff")
    with open(tiff, "wb") as file:
        file.write(encoded(np.full((3, 4), largest, np.uint16), "TIFF"))
    assert find_bit_depth("own", [tiff]) == depth


def test_without_16_bit_images_there_is_no_depth(write):
    assert find_bit_depth("own", [write("a.png", 200, bits=8)]) == 0


def test_found_once_and_again_when_an_image_changes(write, tmp_path, monkeypatch):
    files = [write("a.png", DARK), write("b.png", BRIGHT)]
    assert find_bit_depth("own", files) == 12
    (kept,) = (tmp_path / "cache/bit_depth").iterdir()
    assert json.loads(kept.read_text()) == {"largest": BRIGHT}
    read, read_samples = [], module.read_samples
    monkeypatch.setattr(module, "read_samples", lambda f: read.append(f) or read_samples(f))
    assert find_bit_depth("own", files) == 12
    assert read == []
    os.utime(write("b.png", 9000), ns=(1, 1))
    assert find_bit_depth("own", files) == 14
    assert len(read) == 2
    kept.write_text("{")
    write("b.png", 9000)
    assert find_bit_depth("own", files) == 14


def test_what_is_missing_or_damaged_does_not_count(write):
    """Whoever reads it says so; until then, the rest decides."""
    files = [write("a.png", BRIGHT), "gone.png", write("b.png", 9000), write("c.png", 9000)]
    with open(files[2], "wb") as file:
        file.write(b"404: not found")
    with open(files[3], "r+b") as file:
        file.truncate(os.path.getsize(files[3]) - 20)
    assert find_bit_depth("own", files) == 12


def levels(loader, domain):
    batches = iter(loader)
    return {int(s["image"].max()) for _ in range(12) for s in next(batches)[domain]}


@pytest.mark.parametrize("workers", [0, 1])
def test_dark_frames_stay_dark(camera, workers):
    """600 and 3000 of 12 bits are 37 and 187 of 8; one by one, both would be 150 or more."""
    camera.DATALOADER.NUM_WORKERS = workers
    assert levels(build_uda_train_loader(camera), "target") == {DARK >> 4, BRIGHT >> 4}


def test_a_test_set_of_dark_frames_has_the_depth_of_the_target(camera, caplog):
    record_bit_depths(camera)
    assert camera.INPUT.BIT_DEPTHS == [[TARGET, 12], [TEST, 12]]
    assert "the values of camvid_dusk_test would fit 10 bits; they are read as 12" in caplog.text
    (batch,) = build_uda_test_loader(camera, TEST)
    assert batch[0]["image"].max() == DARK >> 4


def test_the_rows_of_a_config_count_without_a_look(camera, monkeypatch):
    """A config of a run, or of its checkpoint, on a machine without the target's images."""
    camera.INPUT.BIT_DEPTHS = [[TEST, 14]]
    monkeypatch.setattr(module, "find_bit_depth", None)
    (batch,) = build_uda_test_loader(camera, TEST)
    assert batch[0]["image"].max() == DARK >> 6


def test_alone_a_test_set_has_its_own_depth(camera):
    camera.DATASETS.TRAIN = camera.DATASETS.TARGET = ()
    (batch,) = build_uda_test_loader(camera, TEST)
    assert batch[0]["image"].max() == DARK >> 2


def test_a_brighter_test_set_keeps_its_own_depth(camera, write):
    write("test/0001TP_0.png", 9000)
    record_bit_depths(camera)
    assert camera.INPUT.BIT_DEPTHS == [[TARGET, 12], [TEST, 14]]


def test_the_key_counts_for_all(camera, monkeypatch):
    monkeypatch.setattr(module, "find_bit_depth", None)
    camera.INPUT.BIT_DEPTH = 14
    record_bit_depths(camera)
    assert camera.INPUT.BIT_DEPTHS == []
    loader = build_uda_train_loader(camera)
    assert levels(loader, "target") == {DARK >> 6, BRIGHT >> 6}
    assert max(levels(loader, "source")) > 250  # 8-bit noise as it is
    camera.INPUT.BIT_DEPTH = 10
    with pytest.raises(InputError, match=r"0001TP_1.png holds the value 3000, more than the 10"):
        levels(build_uda_train_loader(camera), "target")


def test_what_a_checkpoint_says_is_taken_where_the_config_says_nothing(camera):
    stored = camera.clone()
    record_bit_depths(stored)
    adopt_bit_depths(camera, stored.dump())
    assert camera.INPUT.BIT_DEPTHS == [[TARGET, 12], [TEST, 12]]
    camera.INPUT.BIT_DEPTH, camera.INPUT.BIT_DEPTHS = 16, []
    adopt_bit_depths(camera, stored.dump())
    assert (camera.INPUT.BIT_DEPTH, camera.INPUT.BIT_DEPTHS) == (16, [])


@pytest.mark.parametrize(
    "earlier", [None, 3, torch.ones(2), "a: [", "a: 1", "INPUT: {FORMAT: RGB}"]
)
def test_an_older_or_odd_checkpoint_says_nothing(cfg, earlier):
    adopt_bit_depths(cfg, earlier)
    assert (cfg.INPUT.BIT_DEPTH, cfg.INPUT.BIT_DEPTHS) == (0, [])
