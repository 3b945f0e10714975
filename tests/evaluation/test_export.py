import math
import os
import zipfile

import cv2
import numpy as np
import pytest
import torch

from copt_d2.data.label_spaces import CITYSCAPES, CITYSCAPES_IDS, CITYSCAPES_PALETTE
from copt_d2.errors import InputError
from copt_d2.evaluation import Exporter
from copt_d2.evaluation.export import FORMATS, check_format_names, check_formats_fit

IMAGES = ["/data/fog/a_frame_000001_rgb_anon.png", "/data/night/b_frame_000002_rgb_anon.jpg"]
FILES = ["a_frame_000001_rgb_anon.png", "b_frame_000002_rgb_anon.png"]
HEIGHT, WIDTH = 5, 7


def random_logits(seed):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(19, HEIGHT, WIDTH, generator=generator)


LOGITS = [random_logits(seed) for seed in range(2)]
TRAIN_IDS = [logits.argmax(dim=0).numpy() for logits in LOGITS]


def export(folder, *formats, images=IMAGES):
    exporter = Exporter(
        folder,
        formats,
        image_files=images,
        palette=CITYSCAPES_PALETTE,
        label_ids=CITYSCAPES_IDS,
    )
    exporter.reset()
    for file, logits in zip(images, LOGITS, strict=False):
        sample = {"file_name": file, "height": HEIGHT, "width": WIDTH}
        exporter.process([sample], [{"sem_seg": logits}])
    exporter.evaluate()


def stored(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_train_ids(tmp_path):
    export(tmp_path, "train_ids")
    assert names_in(tmp_path) == [f"train_ids/{name}" for name in FILES]
    for name, expected in zip(FILES, TRAIN_IDS, strict=True):
        found = stored(tmp_path / "train_ids" / name)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)  # (H, W): one channel


def test_color(tmp_path):
    export(tmp_path, "color")
    assert names_in(tmp_path) == [f"color/{name}" for name in FILES]
    rgb = stored(tmp_path / "color" / FILES[0])[:, :, ::-1]
    for y, x in ((0, 0), (2, 3), (4, 6)):
        assert tuple(rgb[y, x]) == CITYSCAPES_PALETTE[TRAIN_IDS[0][y, x]]


def test_cityscapes_ids(tmp_path):
    images = ["jena_000012_000019_leftImg8bit.png"]
    export(tmp_path, "cityscapes", images=images)
    assert names_in(tmp_path) == ["cityscapes.zip", f"cityscapes/{images[0]}"]
    found = stored(tmp_path / "cityscapes" / images[0])
    assert found.dtype == np.uint8
    # back through the table of Cityscapes' label files
    np.testing.assert_array_equal(np.array(CITYSCAPES.table)[found], TRAIN_IDS[0])
    with zipfile.ZipFile(tmp_path / "cityscapes.zip") as archive:
        assert archive.namelist() == images


def test_acdc_submission(tmp_path):
    export(tmp_path, "acdc")
    with zipfile.ZipFile(tmp_path / "acdc.zip") as archive:
        assert archive.namelist() == [f"labelTrainIds/{name}" for name in FILES]
        for name, expected in zip(archive.namelist(), TRAIN_IDS, strict=True):
            data = np.frombuffer(archive.read(name), np.uint8)
            np.testing.assert_array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), expected)
    assert not list(tmp_path.glob("*.tmp"))


def test_dark_zurich_submission(tmp_path):
    export(tmp_path, "dark_zurich")
    folders = ("labelTrainIds", "labelTrainIds_invalid", "confidence")
    with zipfile.ZipFile(tmp_path / "dark_zurich.zip") as archive:
        assert archive.namelist() == [f"{folder}/{name}" for folder in folders for name in FILES]
        for name in FILES:
            copy = archive.read(f"labelTrainIds_invalid/{name}")
            assert copy == archive.read(f"labelTrainIds/{name}")


def test_confidence_is_the_largest_probability_in_16_bits(tmp_path):
    export(tmp_path, "dark_zurich")
    found = stored(tmp_path / "dark_zurich" / "confidence" / FILES[1])
    assert found.dtype == np.uint16
    assert found.shape == (HEIGHT, WIDTH)
    for y, x in ((0, 0), (1, 5), (4, 6)):
        values = LOGITS[1][:, y, x].tolist()
        probability = math.exp(max(values)) / sum(math.exp(value) for value in values)
        assert abs(int(found[y, x]) - 65535 * probability) <= 0.6  # float32 softmax, rounded


def test_a_sure_pixel_has_the_largest_confidence(tmp_path, monkeypatch):
    sure = torch.zeros(19, HEIGHT, WIDTH)
    sure[4] = 100
    monkeypatch.setattr(f"{__name__}.LOGITS", [sure])
    export(tmp_path, "dark_zurich", images=IMAGES[:1])
    assert (stored(tmp_path / "dark_zurich" / "confidence" / FILES[0]) == 65535).all()


def test_several_formats_and_nothing_of_an_earlier_export(tmp_path):
    export(tmp_path, "train_ids", "acdc")
    export(tmp_path, "train_ids", "acdc", images=IMAGES[1:])
    inside = f"labelTrainIds/{FILES[1]}"
    assert names_in(tmp_path) == ["acdc.zip", f"acdc/{inside}", f"train_ids/{FILES[1]}"]
    with zipfile.ZipFile(tmp_path / "acdc.zip") as archive:
        assert archive.namelist() == [inside]


def test_an_interrupted_export_leaves_no_zip(tmp_path):
    export(tmp_path, "acdc")
    exporter = Exporter(
        tmp_path, ["acdc"], image_files=IMAGES, palette=CITYSCAPES_PALETTE, label_ids=()
    )
    exporter.reset()
    assert names_in(tmp_path) == []
    with pytest.raises(InputError, match=r"_anon\.png is missing: OUTPUT_DIR must be"):
        exporter.evaluate()
    assert names_in(tmp_path) == []


def test_a_prediction_of_another_size_is_refused(tmp_path):
    exporter = Exporter(tmp_path, ["train_ids"], image_files=IMAGES, palette=(), label_ids=())
    exporter.reset()
    sample = {"file_name": IMAGES[0], "height": 10, "width": 14}
    with pytest.raises(InputError, match=r"a_frame\S+ is 7x5 pixels, its image 14x10"):
        exporter.process([sample], [{"sem_seg": LOGITS[0]}])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    exporter = Exporter(tmp_path / "file", ["acdc"], image_files=IMAGES, palette=(), label_ids=())
    with pytest.raises(InputError, match=r"file.* cannot be written .*choose another OUTPUT_DIR"):
        exporter.reset()


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        (["acdc", "pdf"], "no format 'pdf'; choose from train_ids, color, cityscapes, acdc, dark_"),
        (["color", "color"], "names a format twice"),
    ],
)
def test_wrong_names(formats, told):
    with pytest.raises(InputError, match=f"^TEST.EXPORT.*{told}"):
        check_format_names(formats)


@pytest.mark.parametrize("name", ["cityscapes", "acdc", "dark_zurich"])
def test_submissions_are_for_the_classes_of_cityscapes(name):
    with pytest.raises(InputError, match=f"^TEST.EXPORT '{name}' .*choose from train_ids, color$"):
        check_formats_fit(["train_ids", name], "camvid", False, ["a.png"])


def test_formats_that_fit():
    check_format_names(FORMATS)
    check_formats_fit(["train_ids", "color"], "camvid", False, ["a.png"])
    check_formats_fit(FORMATS, "cityscapes", True, ["jena_000012_000019_leftImg8bit.png"])
    check_formats_fit([], "anything", False, ["a/x.png", "b/x.png"])
    latin = [os.fsdecode(b"/data/stra\xdfe_000000_000019.png")]  # not UTF-8, which a zip needs
    check_formats_fit(["train_ids"], "acdc", True, latin)
    with pytest.raises(InputError, match=r"'acdc' is packed in a zip, .* rename it"):
        check_formats_fit(["acdc"], "acdc", True, latin)


def test_file_names_that_do_not_fit():
    with pytest.raises(InputError, match=r"unlike /data/fog/a_frame_000001_rgb_anon\.png of acdc"):
        check_formats_fit(["cityscapes"], "acdc", True, IMAGES)
    with pytest.raises(InputError, match=r"several images of acdc would be written to x\.png"):
        check_formats_fit(["train_ids"], "acdc", True, ["a/x.png", "b/x.png"])
