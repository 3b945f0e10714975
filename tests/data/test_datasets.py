import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2.data import register_dataset
from copt_d2.data.datasets import datasets_named, target_images
from copt_d2.data.label_spaces import CAMVID, CITYSCAPES, CITYSCAPES_TRAIN_IDS, SYNTHIA
from copt_d2.data.layouts import Layout
from copt_d2.errors import InputError


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
            folder.touch(f"camvid/{split}/{stem}{('.jpg', '.png')[i % 2]}")
            folder.touch(f"camvid/{split}annot/{stem}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("camvid_day_train", 305),
        ("camvid_day_val", 101),
        ("camvid_day_target", 245),
        ("camvid_day_tune", 60),
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
    folder.touch("camvid/train/0001TP_0.png")
    assert len(DatasetCatalog.get("camvid_dusk_train")) == 1


def test_a_labelled_set_needs_no_labels_as_target(folder):
    folder.touch("cityscapes/leftImg8bit/train/bonn/bonn_000000_000019_leftImg8bit.png")
    name = "cityscapes_fine_sem_seg_train"
    with pytest.raises(InputError, match="has no label file"):
        datasets_named("DATASETS.TRAIN", (name,))
    (entry,) = datasets_named("DATASETS.TARGET", (name,), target_images)
    assert set(entry) == {"file_name", "image_id", "dataset"}


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match=r"TRAIN: 'gta_sem_seg_trian' is not .* gta_sem_seg_train,.*register_dataset\(name, ",
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


def test_metadata_of_the_sets_with_cityscapes_classes():
    synthia = MetadataCatalog.get("synthia_sem_seg_train")
    assert tuple(synthia.label_table) == SYNTHIA.table
    assert len(synthia.evaluation_classes) == 16
    for name in ("acdc_sem_seg_val", "acdc_snow_sem_seg_test", "dark_zurich_sem_seg_val"):
        metadata = MetadataCatalog.get(name)
        assert tuple(metadata.label_table) == CITYSCAPES_TRAIN_IDS.table
        assert metadata.evaluation_classes == list(range(19))
        assert metadata.stuff_classes == synthia.stuff_classes


def test_detectron2s_own_cityscapes_entries_are_replaced():
    metadata = MetadataCatalog.get("cityscapes_fine_sem_seg_val")
    assert metadata.evaluator_type == "sem_seg"  # detectron2's says "cityscapes_sem_seg"


def test_users_can_register_a_layout_or_a_function(folder):
    folder.touch("own/rgb/night/a_rgb.png")
    folder.touch("own/gt/night/a_ids.png")
    layout = Layout("own/rgb", "own/gt", "*/*_rgb.png", ("_rgb.png",), "_ids.png")
    try:
        register_dataset("own_layout", layout, CITYSCAPES, evaluation_classes=(0, 2))
        register_dataset("own_list", lambda: [{"file_name": "x", "image_id": "x"}], CAMVID)
        register_dataset("own_list", lambda: [{"file_name": "y", "image_id": "y"}], CITYSCAPES)
        labelled = [{"file_name": "z", "image_id": "z", "sem_seg_file_name": "z.png"}]
        register_dataset("own_labelled_list", lambda: labelled, CITYSCAPES)
        listed = datasets_named("DATASETS.TEST", ("own_layout", "own_list"))
        assert [entry["file_name"] for entry in listed] == [
            str(folder.root / "own/rgb/night/a_rgb.png"),
            "y",
        ]
        assert [entry["dataset"] for entry in listed] == ["own_layout", "own_list"]
        assert listed[0]["sem_seg_file_name"].endswith("own/gt/night/a_ids.png")
        assert MetadataCatalog.get("own_layout").evaluation_classes == [0, 2]
        assert len(MetadataCatalog.get("own_list").stuff_classes) == 19
        for entry in target_images("own_layout") + target_images("own_labelled_list"):
            assert set(entry) == {"file_name", "image_id"}
    finally:
        for name in ("own_layout", "own_list", "own_labelled_list"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.mark.parametrize("name", ["own/val", "own\\val", "own\nval", "..", "."])
def test_names_that_files_cannot_have_are_refused(folder, name):
    # records and pictures of the evaluation after a training are files of this name
    with pytest.raises(InputError, match="register_dataset: the name") as caught:
        register_dataset(name, Layout("own/images", "own/labels"), CAMVID)
    assert "\n" not in str(caught.value)
    assert name not in DatasetCatalog.list()


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        (None, "returned None; needed is a list of dicts"),
        ("own/0.png", "returned 'own/0.png'"),
        ({"file_name": "own/0.png"}, "needed is a list of dicts"),
        ([], "lists no image"),
        (["own/0.png"], "entry 0 of its list is 'own/0.png'"),
        ([{"file_name": "0.png"}, {"image_id": "1"}], "entry 1 of its list has no file_name"),
        ([{"file_name": 7}], "entry 0 of its list has the file_name 7"),
        ([{"file_name": "0.png", "sem_seg_file_name": ""}], "the sem_seg_file_name ''"),
    ],
)
def test_what_a_function_lists_is_looked_at(entries, match):
    register_dataset("own_listed", lambda: entries, CAMVID)
    for use in (DatasetCatalog.get, target_images):
        with pytest.raises(InputError, match=f"'own_listed'.*{match}") as caught:
            use("own_listed")
        assert "\n" not in str(caught.value)


def test_a_function_may_list_paths_one_by_one(tmp_path):
    def entries():
        yield {"file_name": tmp_path / "0.jpg", "sem_seg_file_name": tmp_path / "0.png"}
        yield {"file_name": tmp_path / "1.jpg", "sem_seg_file_name": None}

    register_dataset("own_listed", entries, CAMVID)
    found = DatasetCatalog.get("own_listed")
    assert found == [
        {"file_name": f"{tmp_path}/0.jpg", "sem_seg_file_name": f"{tmp_path}/0.png"},
        {"file_name": f"{tmp_path}/1.jpg"},
    ]
