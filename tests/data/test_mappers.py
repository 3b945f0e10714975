from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from PIL import Image

from copt_d2.data import SourceMapper, TargetMapper, TestMapper
from copt_d2.data.mappers import RequiredClass
from copt_d2.data.reading import read_image
from copt_d2.errors import InputError

IDENTITY = np.arange(256, dtype=np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def pair(folder, labels, name="0006R0_0", seed=0):
    folder.camvid_pair("train", name, labels, seed=seed)
    return {
        "file_name": str(folder.root / f"camvid/train/{name}.png"),
        "sem_seg_file_name": str(folder.root / f"camvid/trainannot/{name}.png"),
    }


@pytest.fixture
def coded(folder):
    """An image whose colour tells its label: equal transforms keep the two in step."""
    labels = rng(9).integers(0, 12, (19, 27), dtype=np.uint8)
    entry = pair(folder, labels)
    image = np.repeat(np.where(labels == 11, 255, labels)[..., None], 3, axis=2)
    Image.fromarray(image.astype(np.uint8)).save(entry["file_name"])
    return entry


def test_source_sample(cfg, coded):
    for seed in range(20):
        sample = SourceMapper(cfg)(coded, rng(seed))
        assert set(sample) == {"image", "sem_seg", "file_name"}
        assert sample["image"].shape == (3, 9, 13)
        assert sample["image"].dtype == sample["sem_seg"].dtype == torch.uint8
        assert sample["image"].is_contiguous()
        assert (sample["image"] == sample["sem_seg"]).all()  # cropped and flipped alike; 11 -> 255


def test_same_generator_same_sample_and_others_differ(cfg, coded):
    mapper = SourceMapper(cfg)
    first, again, other = (mapper(coded, rng(seed))["image"] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_flip_is_drawn_half_of_the_time_and_can_be_off(cfg, coded):
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    stored = torch.from_numpy(read_image(coded["file_name"])).permute(2, 0, 1)

    def flips(cfg):
        mapper = SourceMapper(cfg)
        images = [mapper(coded, rng(seed))["image"] for seed in range(100)]
        assert all((i == stored).all() or (i == stored.flip(2)).all() for i in images)
        return sum(bool((i != stored).any()) for i in images)

    assert 30 < flips(cfg) < 70
    cfg.INPUT.RANDOM_FLIP = "none"
    assert flips(cfg) == 0


def test_single_category_crops_are_redrawn(cfg, folder):
    # left 20 columns road; only crops that reach far into the right 7 columns are varied enough
    labels = np.full((19, 27), 3, dtype=np.uint8)
    labels[:, 20:] = 0
    entry = pair(folder, labels)

    def varied_share(limit):
        cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = limit
        crops = [SourceMapper(cfg)(entry, rng(seed))["sem_seg"] for seed in range(150)]
        return np.mean([(crop == 3).float().mean() < 0.75 for crop in crops])

    # offsets 0..14, the crop [x, x+13) holds x - 7 columns of sky; < 75 % road needs 4: x >= 11
    assert abs(varied_share(1.0) - 4 / 15) < 0.12
    assert varied_share(0.75) > 0.9  # 1 - (11/15)^11 = 0.967


def test_a_crop_of_one_class_is_taken_after_ten_redraws(cfg, folder):
    entry = pair(folder, np.full((19, 27), 3))
    assert (SourceMapper(cfg)(entry, rng())["sem_seg"] == 3).all()


def test_ignored_pixels_do_not_count_as_variety(cfg, folder):
    labels = np.full((19, 27), 11, dtype=np.uint8)
    labels[:, 20:22] = 3
    labels[:, 22:24] = 0
    entry = pair(folder, labels)
    shares = []
    for seed in range(60):
        crop = SourceMapper(cfg)(entry, rng(seed))["sem_seg"]
        shares.append(bool((crop == 3).any() and (crop == 0).any()))
    # both classes need the offset x >= 10 of 0..14: 1/3 of the crops, with redraws 1 - (2/3)^11
    assert np.mean(shares) > 0.9


def test_required_class_redraws_the_crop(cfg, folder):
    labels = np.full((19, 27), 3, dtype=np.uint8)
    labels[15:, 23:] = 8  # 16 pixels in the corner
    entry = pair(folder, labels)
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    mapper = SourceMapper(cfg)

    def share(required):
        crops = [mapper(entry, rng(seed), required)["sem_seg"] for seed in range(150)]
        return np.mean([(crop == 8).sum() > 5 for crop in crops])

    # > 5 pixels need rows x columns in {2x3, 2x4, 3x2, 3x3, 3x4, 4x2, 4x3, 4x4}: 8 of 11 * 15 boxes
    assert share(None) < 0.15
    # 1 - (157/165)^11 = 0.42
    assert 0.3 < share(RequiredClass(8, 5)) < 0.55


def test_files_are_opened_once_a_sample(cfg, folder, monkeypatch):
    entry = pair(folder, np.full((19, 27), 3))
    calls = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: calls.append(str(path)) or read_bytes(path)
    )
    monkeypatch.setattr(
        "copt_d2.data.mappers.photometric_distortion",
        lambda image, rng: calls.append("distorted") or image,
    )
    cfg.INPUT.PHOTOMETRIC_DISTORTION = True
    SourceMapper(cfg)(entry, rng(), RequiredClass(8, 5))  # never met: all redraws are used up
    assert calls == [entry["file_name"], entry["sem_seg_file_name"], "distorted"]


def test_distortion_is_a_switch(cfg, folder):
    entry = pair(folder, rng().integers(0, 11, (19, 27)))
    cfg.INPUT.PHOTOMETRIC_DISTORTION = True
    distorted = [SourceMapper(cfg)(entry, rng(seed)) for seed in range(8)]
    cfg.INPUT.PHOTOMETRIC_DISTORTION = False
    plain = [SourceMapper(cfg)(entry, rng(seed)) for seed in range(8)]
    pairs = list(zip(distorted, plain, strict=True))
    assert all((d["sem_seg"] == p["sem_seg"]).all() for d, p in pairs)
    assert any((d["image"] != p["image"]).any() for d, p in pairs)


def test_resize_box_and_scale(cfg, coded):
    cfg.INPUT.SOURCE_RESIZE = (54, 38)
    cfg.INPUT.CROP.SIZE = [100, 100]
    assert SourceMapper(cfg)(coded, rng())["image"].shape == (3, 38, 54)
    cfg.INPUT.SCALE_RANGE = (0.25, 0.25)  # smaller than the crop: the model pads
    assert SourceMapper(cfg)(coded, rng())["sem_seg"].shape == (10, 14)


def test_sizes_that_differ_name_both_files(cfg, folder):
    entry = pair(folder, np.zeros((19, 27)))
    folder.label("camvid/trainannot/0006R0_0.png", np.zeros((19, 26)))
    with pytest.raises(InputError, match=r"train/0006R0_0.png is 27x19 .*annot.* is 26x19"):
        SourceMapper(cfg)(entry, rng())


def test_unlabelled_source_is_refused(cfg, folder):
    entry = pair(folder, np.zeros((19, 27)))
    del entry["sem_seg_file_name"]
    with pytest.raises(InputError, match=r"0006R0_0.png has no label file"):
        SourceMapper(cfg)(entry, rng())


def test_target_sample_without_margins(cfg, coded):
    sample = TargetMapper(cfg)(coded, rng())
    assert set(sample) == {"image", "valid", "file_name"}
    assert sample["image"].shape == (3, 9, 13)
    assert sample["valid"].shape == (9, 13)
    assert sample["valid"].dtype == torch.uint8
    assert (sample["valid"] == 1).all()


def test_margins_travel_with_the_pixels(cfg, folder):
    # red marks the margins at top 2 and bottom 4, green those at left 3 and right 1
    image = np.zeros((19, 27, 3), dtype=np.uint8)
    image[:2, :, 0] = image[-4:, :, 0] = 200
    image[:, :3, 1] = image[:, -1:, 1] = 200
    path = folder.image("camvid/train/0001TP_0.png")
    Image.fromarray(image).save(path)
    cfg.INPUT.VALID_MARGINS = (2, 4, 3, 1)
    cfg.INPUT.TARGET_RESIZE = (81, 57)  # factor 3
    cfg.INPUT.CROP.SIZE = [51, 71]
    for seed in range(12):
        sample = TargetMapper(cfg)({"file_name": str(path)}, rng(seed))
        valid, marks = sample["valid"], sample["image"].amax(dim=0)
        # bilinear edges lie at half of the value, where nearest has its step
        assert ((marks < 100) == valid.bool()).all()
        assert 0 < (valid == 0).sum() < valid.numel()


def test_margins_by_hand(cfg, coded):
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.VALID_MARGINS = (3, 6, 1, 2)
    valid = TargetMapper(cfg)(coded, rng())["valid"]
    expected = torch.zeros(19, 27, dtype=torch.uint8)
    expected[3:13, 1:25] = 1
    assert (valid == expected).all()


def test_target_never_opens_a_label_file(cfg, day_and_dusk, monkeypatch):
    label = day_and_dusk.root / "camvid/trainannot/0001TP_000.png"
    label.write_text("not an image")
    entry = {**DatasetCatalog.get("camvid_dusk_train")[0], "sem_seg_file_name": str(label)}
    opened, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: opened.append(str(p)) or read_bytes(p))
    monkeypatch.setattr("PIL.Image.open", lambda *a, **k: opened.append(a))
    with_broken_label = TargetMapper(cfg)(entry, rng(3))
    label.unlink()
    without_label = TargetMapper(cfg)(entry, rng(3))
    assert opened == [entry["file_name"]] * 2
    assert (with_broken_label["image"] == without_label["image"]).all()
    assert str(label) not in str(without_label)


def test_test_sample_keeps_the_stored_size(cfg, coded):
    plain = TestMapper(cfg)({"file_name": coded["file_name"]})
    assert (plain["height"], plain["width"]) == (19, 27)
    stored = torch.from_numpy(read_image(coded["file_name"])).permute(2, 0, 1)
    assert (plain["image"] == stored).all()
    cfg.INPUT.TEST_RESIZE = (54, 54)
    sample = TestMapper(cfg)({"file_name": coded["file_name"]})
    assert sample["image"].shape == (3, 38, 54)
    assert (sample["height"], sample["width"]) == (19, 27)
    assert set(sample) == {"image", "height", "width", "file_name"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.SCALE_RANGE", (0.0, 1.0)),
        ("INPUT.SCALE_RANGE", (2.0, 1.0)),
        ("INPUT.RANDOM_FLIP", "vertical"),
        ("INPUT.CROP.TYPE", "relative"),
        ("INPUT.CROP.SIZE", [0.9, 0.9]),
        ("INPUT.TARGET_RESIZE", (480, 270, 3)),
        ("INPUT.VALID_MARGINS", (1, 2, 3)),
    ],
)
def test_wrong_keys_are_named(cfg, key, value):
    cfg.merge_from_list([key, value])
    with pytest.raises(InputError, match=key):
        TargetMapper(cfg)


@pytest.mark.parametrize("size", [(1, 1), (1, 27), (19, 1), (1, 3000), (3000, 1)])
def test_images_of_one_pixel_in_height_or_width(cfg, folder, size):
    labels = rng().integers(0, 11, size)
    entry = pair(folder, labels)
    for resize in ((), (27, 19)):
        cfg.INPUT.SOURCE_RESIZE = cfg.INPUT.TARGET_RESIZE = cfg.INPUT.TEST_RESIZE = resize
        cfg.INPUT.PHOTOMETRIC_DISTORTION = True
        cfg.INPUT.SCALE_RANGE = (0.5, 2.0) if resize else (1.0, 1.0)
        for seed in range(4):  # mirrored or not
            source = SourceMapper(cfg)(entry, rng(seed))
            target = TargetMapper(cfg)(entry, rng(seed))
            assert source["image"].shape[1:] == source["sem_seg"].shape
            assert target["image"].shape[1:] == target["valid"].shape
            assert target["valid"].all()
        assert TestMapper(cfg)(entry)["height"] == size[0]
