import json

import cv2
import numpy as np
import pytest
from PIL import Image

from copt_d2.data.label_spaces import CITYSCAPES
from copt_d2.scenes import render_scene, write_benchmark
from copt_d2.scenes.writers import write_cityscapes, write_gta

# train id -> id in the files, from the data sets' documentation
IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("datasets")
    assert write_benchmark("gta2cs", out, source=3, target=2, val=2, width=128, seed=6)
    return out


def names(folder, pattern):
    return sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))


def test_gta_names(folder):
    files = [f"{index:05}.png" for index in (1, 2, 3)]
    assert names(folder / "gta", "images/*") == [f"images/{name}" for name in files]
    assert names(folder / "gta", "labels/*") == [f"labels/{name}" for name in files]


def test_cityscapes_names(folder):
    stems = {"train": "altstadt", "val": "valstadt"}
    for split, city in stems.items():
        names_of = [f"{split}/{city}/{city}_{index:06}_000019" for index in (0, 1)]
        images = names(folder / "cityscapes" / "leftImg8bit", f"{split}/**/*.png")
        labels = names(folder / "cityscapes" / "gtFine", f"{split}/**/*.png")
        assert images == [f"{name}_leftImg8bit.png" for name in names_of]
        assert labels == [f"{name}_gtFine_labelIds.png" for name in names_of]


def test_gta_files_hold_the_scene(folder):
    image, labels = render_scene([6, 0, 1], "rendered", 128)
    stored = np.array(Image.open(folder / "gta/images/00002.png"))
    assert np.array_equal(stored, image)
    picture = Image.open(folder / "gta/labels/00002.png")
    assert picture.mode == "P"
    assert np.array_equal(np.array(picture), np.array(IDS)[labels])


def test_gta_palette_shows_the_class_colours(folder):
    palette = np.array(Image.open(folder / "gta/labels/00001.png").getpalette()).reshape(-1, 3)
    assert palette[7].tolist() == [128, 64, 128]
    assert palette[26].tolist() == [0, 0, 142]
    assert palette[0].tolist() == [0, 0, 0]


def test_cityscapes_files_hold_the_scene(folder):
    image, labels = render_scene([6, 2, 1], "photographic", 128)
    stem = "val/valstadt/valstadt_000001_000019"
    stored = cv2.imread(str(folder / f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png"))
    assert np.array_equal(stored[..., ::-1], image)
    picture = Image.open(folder / f"cityscapes/gtFine/{stem}_gtFine_labelIds.png")
    assert picture.mode == "L"
    assert np.array_equal(np.array(picture), np.array(IDS)[labels])
    assert np.array_equal(np.array(CITYSCAPES.table)[np.array(picture)], labels)


def test_ignored_pixels_are_stored_as_unlabelled(tmp_path):
    labels = np.array([[255, 18, 0]], np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    write_gta(tmp_path / "gta", "source", 0, image, labels)
    write_cityscapes(tmp_path / "cs", "val", 0, image, labels)
    for path in (*tmp_path.glob("gta/labels/*"), *tmp_path.glob("cs/gtFine/**/*.png")):
        assert np.array(Image.open(path)).tolist() == [[0, 33, 7]]


def test_splits_share_no_scene(folder):
    labels = [*folder.glob("gta/labels/*.png"), *folder.glob("cityscapes/gtFine/**/*.png")]
    contents = {np.array(Image.open(path)).tobytes() for path in labels}
    assert len(contents) == len(labels) == 7


def test_an_interrupted_set_is_written_again(tmp_path):
    def stop(done):
        raise KeyboardInterrupt

    counts = {"source": 2, "target": 1, "val": 0, "width": 128}
    with pytest.raises(KeyboardInterrupt):
        write_benchmark("gta2cs", tmp_path, **counts, progress=stop)
    assert json.loads((tmp_path / "gta" / "scenes.json").read_text())["complete"] is False
    assert write_benchmark("gta2cs", tmp_path, **counts)
    assert len(names(tmp_path, "gta/images/*")) == 2
    assert len(names(tmp_path, "cityscapes/leftImg8bit/train/*/*")) == 1
    assert not write_benchmark("gta2cs", tmp_path, **counts)
