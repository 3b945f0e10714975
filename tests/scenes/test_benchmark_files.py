"""The files of synthia2cs, cs2dz and cs2acdc; those of gta2cs are in test_scene_files.py."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from copt_d2.data.label_spaces import CITYSCAPES
from copt_d2.scenes import BENCHMARKS, render_scene, write_benchmark
from copt_d2.scenes.writers import SYNTHIA_FILE_IDS, write_acdc, write_dark_zurich, write_synthia

CONDITIONS = ("fog", "night", "rain", "snow")
COUNTS = {"source": 2, "target": 5, "val": 4, "width": 128, "seed": 6}

# SYNTHIA id -> train id, from the data set's documentation; 0 = void
SYNTHIA_IDS = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 1: 10, 10: 11, 17: 12}
SYNTHIA_IDS |= {8: 13, 19: 15, 12: 17, 11: 18}
TERRAIN, TRUCK, TRAIN = 9, 14, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("datasets")
    for benchmark in ("synthia2cs", "cs2dz", "cs2acdc"):
        counts = {**COUNTS, "target": 2} if benchmark == "synthia2cs" else COUNTS
        assert write_benchmark(benchmark, out, **counts)
    return out


def names(folder, pattern="*"):
    found = (path for path in folder.rglob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_synthia_names(folder):
    files = ["0000000.png", "0000001.png"]
    assert names(folder / "synthia/RGB") == files
    assert names(folder / "synthia/GT/LABELS") == files


def test_synthia_labels_have_16_bits_and_the_id_in_red(folder):
    image, labels = render_scene([6, 3, 1], "synthetic", 128)
    assert np.array_equal(read(folder / "synthia/RGB/0000001.png")[..., ::-1], image)
    stored = read(folder / "synthia/GT/LABELS/0000001.png")
    assert stored.dtype == np.uint16
    assert stored.shape == (64, 128, 3)
    blue, _, red = np.moveaxis(stored, -1, 0)
    assert not blue.any()
    expected = np.zeros_like(red)
    for label_id, train_id in SYNTHIA_IDS.items():
        expected[labels == train_id] = label_id
    assert np.array_equal(red, expected)


def test_synthia_numbers_the_pieces_of_countable_classes(tmp_path):
    labels = np.zeros((8, 12), np.uint8)
    labels[1:3, 1:3] = labels[1:3, 6:8] = 13  # two cars
    labels[5:7, 1:3] = 11
    write_synthia(tmp_path, "source", 0, np.zeros((8, 12, 3), np.uint8), labels)
    number = read(tmp_path / "GT/LABELS/0000000.png")[..., 1]
    pieces = {int(number[1, 1]), int(number[1, 6]), int(number[5, 1])}
    assert pieces == {1, 2, 3}
    assert not number[labels == 0].any()


def test_synthia_has_neither_terrain_nor_truck_nor_train(tmp_path):
    labels = np.array([[TERRAIN, TRUCK, TRAIN, 255, 13]], np.uint8)
    write_synthia(tmp_path, "source", 0, np.zeros((1, 5, 3), np.uint8), labels)
    assert read(tmp_path / "GT/LABELS/0000000.png")[0, :, 2].tolist() == [0, 0, 0, 0, 8]


def test_thirty_scenes_hold_at_least_thirteen_synthia_classes():
    scenes = [render_scene([6, 3, index], "synthetic", 128)[1] for index in range(30)]
    ids = set(np.unique(SYNTHIA_FILE_IDS[np.stack(scenes)]).tolist()) - {0}
    assert ids <= set(SYNTHIA_IDS)
    assert len(ids) >= 13


def test_dark_zurich_names(folder):
    train, val, test, day = "GOPR0351", "GOPR0356", "GOPR0364", "GOPR0356_ref"
    assert names(folder / "dark_zurich/rgb_anon") == [
        *(f"test/night/{test}/{test}_frame_{n:06}_rgb_anon.png" for n in range(1, 5)),
        *(f"train/night/{train}/{train}_frame_{n:06}_rgb_anon.png" for n in range(1, 6)),
        *(f"val/night/{val}/{val}_frame_{n:06}_rgb_anon.png" for n in range(1, 5)),
        f"val_ref/day/{day}/{val}_frame_000001_ref_rgb_anon.png",
    ]
    assert names(folder / "dark_zurich/gt") == [
        f"val/night/{val}/{val}_frame_{n:06}_gt_{kind}.png"
        for n in range(1, 5)
        for kind in ("labelIds", "labelTrainIds")
    ]


def test_dark_zurich_files_hold_the_scene(folder):
    image, labels = render_scene([6, 5, 1], "night", 128)
    stem = "val/night/GOPR0356/GOPR0356_frame_000002"
    root = folder / "dark_zurich"
    assert np.array_equal(read(root / f"rgb_anon/{stem}_rgb_anon.png")[..., ::-1], image)
    check_labels(root / f"gt/{stem}", labels)


def check_labels(stem, labels):
    train_ids = Image.open(f"{stem}_gt_labelTrainIds.png")
    assert train_ids.mode == "L"
    assert np.array_equal(np.array(train_ids), labels)
    ids = np.array(Image.open(f"{stem}_gt_labelIds.png"))
    assert np.array_equal(np.array(CITYSCAPES.table)[ids], labels)


def test_acdc_names(folder):
    root = folder / "acdc/rgb_anon"
    for number, condition in enumerate(CONDITIONS, 1):
        counts = {"train": 2 if condition == "fog" else 1, "val": 1, "test": 2}
        expected = []
        for place, (split, count) in enumerate(counts.items()):
            sequence = f"GOPR{100 + 4 * place + number:04}"
            frames = [f"{sequence}_frame_{n:06}" for n in range(1, count + 1)]
            expected += [f"{split}/{sequence}/{frame}_rgb_anon.png" for frame in frames]
            if split != "test":
                expected.append(f"{split}_ref/{sequence}/{frames[0]}_rgb_ref_anon.png")
        assert names(root / condition) == sorted(expected)


def test_acdc_labels_train_and_val_only(folder):
    images = [n for n in names(folder / "acdc/rgb_anon") if "/train/" in n or "/val/" in n]
    stems = [name.removesuffix("_rgb_anon.png") for name in images]
    kinds = ("_gt_labelIds.png", "_gt_labelTrainIds.png")
    assert names(folder / "acdc/gt") == sorted(stem + kind for stem in stems for kind in kinds)


@pytest.mark.parametrize("number", range(4))
def test_acdc_files_hold_the_scene_of_their_condition(folder, number):
    condition = CONDITIONS[number]
    image, labels = render_scene([6, 9, number], condition, 128)
    sequence = f"GOPR{105 + number:04}"
    stem = f"{condition}/val/{sequence}/{sequence}_frame_000001"
    root = folder / "acdc"
    assert np.array_equal(read(root / f"rgb_anon/{stem}_rgb_anon.png")[..., ::-1], image)
    check_labels(root / f"gt/{stem}", labels)


def test_references_are_photographs_by_day(folder):
    image, _ = render_scene([6, 12, 1], "photographic", 128)
    path = folder / "acdc/rgb_anon/night/val_ref/GOPR0106/GOPR0106_frame_000001_rgb_ref_anon.png"
    assert np.array_equal(read(path)[..., ::-1], image)


def test_ignored_pixels_in_both_label_files(tmp_path):
    labels = np.array([[255, 18, 0]], np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    write_dark_zurich(tmp_path / "dz", "val", 0, image, labels)
    write_acdc(tmp_path / "acdc", "train", 0, image, labels)
    for root in (tmp_path / "dz", tmp_path / "acdc"):
        (train_ids,), (ids,) = root.rglob("*_labelTrainIds.png"), root.rglob("*_labelIds.png")
        assert read(train_ids).tolist() == [[255, 18, 0]]
        assert read(ids).tolist() == [[0, 33, 7]]


def test_benchmarks_share_cityscapes(folder):
    # written once by the first, reused by the others with as many scenes
    assert json.loads((folder / "cityscapes/scenes.json").read_text())["splits"] == {
        "train": 2,
        "val": 4,
    }
    for benchmark in ("cs2dz", "cs2acdc"):
        assert not write_benchmark(benchmark, folder, **COUNTS)


def test_no_two_splits_share_a_scene():
    sets = {scenes.folder: scenes for pair in BENCHMARKS.values() for scenes in pair}
    streams = [part.stream for scenes in sets.values() for part in scenes.splits.values()]
    assert len(streams) == len(set(streams)) == 13


def test_markers_of_the_demo_keep_their_form(tmp_path):
    """Scenes made before the other benchmarks existed are still recognised."""
    counts = {"source": 0, "target": 0, "val": 0}
    assert write_benchmark("gta2cs", tmp_path, **counts, width=128, seed=3)
    common = {"version": 2, "width": 128, "seed": 3, "complete": True}
    for name, style, splits in (
        ("gta", "rendered", {"source": 0}),
        ("cityscapes", "photographic", {"train": 0, "val": 0}),
    ):
        content = json.loads((tmp_path / name / "scenes.json").read_text())
        assert content == {**common, "style": style, "splits": splits}
