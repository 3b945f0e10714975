import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2.data import register_dataset
from copt_d2.data.datasets import SPLITS, Layout, datasets_named
from copt_d2.data.label_spaces import CAMVID, CITYSCAPES
from copt_d2.errors import InputError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def camvid(folder):
    """Empty files with the names of the 367 + 101 + 62 frames: listing reads no pixels."""
    names = {
        "train": [f"0006R0_f{i:05}" for i in range(101)]
        + [f"0016E5_{i:05}" for i in range(204)]
        + [f"0001TP_{i:06}" for i in range(62)],
        "val": [f"0016E5_{i:05}" for i in range(900, 1001)],
        "test": [f"0001TP_{i:06}" for i in range(500, 562)] + ["Seq05VD_f00000"],
    }
    for split, stems in names.items():
        for i, stem in enumerate(stems):
            touch(folder.root / f"camvid/{split}/{stem}{('.jpg', '.png')[i % 2]}")
            touch(folder.root / f"camvid/{split}annot/{stem}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("camvid_day_train", 305),
        ("camvid_day_val", 101),
        ("camvid_dusk_train", 42),
        ("camvid_dusk_train_labeled", 42),
        ("camvid_dusk_val", 20),
        ("camvid_dusk_test", 62),
    ],
)
def test_camvid_split_sizes(camvid, name, count):
    entries = DatasetCatalog.get(name)
    assert len(entries) == len({entry["file_name"] for entry in entries}) == count
    assert [e["image_id"] for e in entries] == sorted(e["image_id"] for e in entries)


def test_camvid_dusk_is_divided_in_name_order(camvid):
    train = [entry["image_id"] for entry in DatasetCatalog.get("camvid_dusk_train")]
    val = [entry["image_id"] for entry in DatasetCatalog.get("camvid_dusk_val")]
    assert train + val == [f"0001TP_{i:06}" for i in range(62)]


def test_target_names_no_label_file_and_the_oracle_does(camvid):
    target = DatasetCatalog.get("camvid_dusk_train")
    oracle = DatasetCatalog.get("camvid_dusk_train_labeled")
    assert all(set(entry) == {"file_name", "image_id"} for entry in target)
    assert "annot" not in str(target)
    assert [entry["file_name"] for entry in oracle] == [entry["file_name"] for entry in target]
    assert oracle[3]["sem_seg_file_name"].endswith("camvid/trainannot/0001TP_000003.png")


def test_target_needs_no_label_folder(folder):
    touch(folder.root / "camvid/train/0001TP_0.png")
    assert len(DatasetCatalog.get("camvid_dusk_train")) == 1


def test_gta_layout(folder):
    for name in ("00002.png", "00001.png"):
        touch(folder.root / "gta/images" / name)
        touch(folder.root / "gta/labels" / name)
    assert DatasetCatalog.get("gta_sem_seg_train") == [
        {
            "file_name": str(folder.root / f"gta/images/0000{i}.png"),
            "image_id": f"0000{i}",
            "sem_seg_file_name": str(folder.root / f"gta/labels/0000{i}.png"),
        }
        for i in (1, 2)
    ]


@pytest.mark.parametrize("split", ["train", "val"])
def test_cityscapes_layout(folder, split):
    root = folder.root / "cityscapes"
    for stem in ("ulm/ulm_000001_000019", "bonn/bonn_000000_000007"):
        touch(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
        touch(root / f"gtFine/{split}/{stem}_gtFine_labelIds.png")
        touch(root / f"gtFine/{split}/{stem}_gtFine_color.png")
    entries = DatasetCatalog.get(f"cityscapes_fine_sem_seg_{split}")
    assert [entry["image_id"] for entry in entries] == [
        "bonn_000000_000007",
        "ulm_000001_000019",
    ]
    label = root / f"gtFine/{split}/bonn/bonn_000000_000007_gtFine_labelIds.png"
    assert entries[0]["sem_seg_file_name"] == str(label)


def test_same_frame_as_png_and_jpeg_counts_once(folder):
    for suffix in (".png", ".jpg"):
        touch(folder.root / f"camvid/train/0001TP_0{suffix}")
    touch(folder.root / "camvid/train/._0001TP_0.png")  # what macOS leaves behind
    assert len(DatasetCatalog.get("camvid_dusk_train")) == 1


def test_root_is_read_at_the_call(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "elsewhere"))
    touch(tmp_path / "elsewhere/camvid/train/0001TP_7.png")
    assert "elsewhere" in DatasetCatalog.get("camvid_dusk_train")[0]["file_name"]


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_missing_folder_names_it_and_the_variable(folder, name):
    with pytest.raises(InputError, match=r"DETECTRON2_DATASETS") as error:
        DatasetCatalog.get(name)
    expected = folder.root / SPLITS[name].layout.images
    assert f"folder {expected} does not exist" in str(error.value)
    assert "\n" not in str(error.value)


def test_folder_without_images_says_what_is_expected(folder):
    touch(folder.root / "camvid/train/0006R0_1.txt")
    with pytest.raises(InputError) as error:
        DatasetCatalog.get("camvid_day_train")
    assert "holds no image" in str(error.value)
    assert "camvid/train/{0006R0,0016E5}*{.png,.jpg,.jpeg}" in str(error.value)
    assert "camvid/trainannot/*.png" in str(error.value)


def test_image_without_label_is_named(folder):
    touch(folder.root / "gta/images/00009.png")
    with pytest.raises(InputError, match=r"images/00009.png has no label .*labels/00009.png"):
        DatasetCatalog.get("gta_sem_seg_train")


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"DATASETS.TRAIN .*'gta_sem_seg_trian'.*gta_sem_seg_train"
    ):
        datasets_named("DATASETS.TRAIN", ("gta_sem_seg_trian",))


def test_metadata():
    day, dusk = MetadataCatalog.get("camvid_day_val"), MetadataCatalog.get("camvid_dusk_val")
    gta = MetadataCatalog.get("gta_sem_seg_train")
    assert dusk.evaluation_classes == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert day.evaluation_classes == list(range(11))
    assert gta.evaluation_classes == list(range(19))
    assert gta.stuff_classes[18] == "bicycle"
    assert gta.stuff_colors[0] == [128, 64, 128]
    assert gta.thing_train_ids == [6, 7, 11, 12, 13, 14, 15, 16, 17, 18]
    assert tuple(gta.label_table) == CITYSCAPES.table
    assert (gta.ignore_label, gta.evaluator_type) == (255, "sem_seg")


def test_detectron2s_own_cityscapes_entries_are_replaced():
    metadata = MetadataCatalog.get("cityscapes_fine_sem_seg_val")
    assert metadata.evaluator_type == "sem_seg"  # detectron2's says "cityscapes_sem_seg"


def test_users_can_register_a_layout_or_a_function(folder):
    touch(folder.root / "own/rgb/night/a_rgb.png")
    touch(folder.root / "own/gt/night/a_ids.png")
    layout = Layout("own/rgb", "own/gt", "*/*_rgb.png", ("_rgb.png",), "_ids.png")
    try:
        register_dataset("own_layout", layout, CITYSCAPES, evaluation_classes=(0, 2))
        register_dataset("own_list", lambda: [{"file_name": "x", "image_id": "x"}], CAMVID)
        register_dataset("own_list", lambda: [{"file_name": "y", "image_id": "y"}], CITYSCAPES)
        listed = datasets_named("DATASETS.TEST", ("own_layout", "own_list"))
        assert [entry["file_name"] for entry in listed] == [
            str(folder.root / "own/rgb/night/a_rgb.png"),
            "y",
        ]
        assert [entry["dataset"] for entry in listed] == ["own_layout", "own_list"]
        assert listed[0]["sem_seg_file_name"].endswith("own/gt/night/a_ids.png")
        assert MetadataCatalog.get("own_layout").evaluation_classes == [0, 2]
        assert len(MetadataCatalog.get("own_list").stuff_classes) == 19
    finally:
        for name in ("own_layout", "own_list"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
