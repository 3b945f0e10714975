import json
import os
import re

import numpy as np
import pytest
from detectron2.data import DatasetCatalog

from copt_d2.data import class_statistics, parallel
from copt_d2.data.class_statistics import class_pixels
from copt_d2.errors import InputError

NAME = "camvid_day_train"


@pytest.fixture
def two_images(folder):
    """Two label files: 5 sky, 1 void, 6 car; 12 road."""
    folder.camvid_pair("train", "0006R0_0", [[0, 0, 0, 0], [0, 11, 8, 8], [8, 8, 8, 8]])
    folder.camvid_pair("train", "0016E5_1", np.full((3, 4), 3))
    return folder


EXPECTED = np.zeros((2, 11), dtype=int)
EXPECTED[0, [0, 8]] = 5, 6
EXPECTED[1, 3] = 12


def pixels(stats=""):
    return class_pixels(NAME, DatasetCatalog.get(NAME), stats)


def test_counts_by_hand(two_images):
    assert pixels().tolist() == EXPECTED.tolist()


def test_counted_once_and_again_when_a_label_changes(two_images, tmp_path, monkeypatch):
    pixels()
    read = []
    count = class_statistics.read_train_ids
    monkeypatch.setattr(
        class_statistics, "read_train_ids", lambda *a: read.append(a[0]) or count(*a)
    )
    assert pixels().tolist() == EXPECTED.tolist()
    assert read == []
    assert [p.suffix for p in (tmp_path / "cache/rare_class").iterdir()] == [".npy"]
    label = two_images.label("camvid/trainannot/0016E5_1.png", np.full((3, 4), 5))
    os.utime(label, ns=(1, 1))  # the same size within the clock's resolution is told apart by time
    assert pixels()[1].tolist() == [0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0]
    assert len(read) == 2


def test_damaged_cache_is_counted_anew(two_images, tmp_path):
    pixels()
    (cached,) = (tmp_path / "cache/rare_class").iterdir()
    cached.write_bytes(cached.read_bytes()[:70])
    assert pixels().tolist() == EXPECTED.tolist()
    assert np.load(cached).tolist() == EXPECTED.tolist()


def test_unwritable_cache_is_only_a_warning(two_images, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "file"))
    assert pixels().tolist() == EXPECTED.tolist()
    assert "cannot be kept" in caplog.text


def test_nothing_is_written_beside_the_data(two_images):
    before = sorted(two_images.root.rglob("*"))
    pixels()
    assert sorted(two_images.root.rglob("*")) == before


def stats(*entries):
    return json.dumps([{**counts, "file": file} for file, counts in entries])


GIVEN = stats(
    ("/far/away/0016E5_1_labelTrainIds.png", {"3": 1000}),
    ("elsewhere/0006R0_0_labelTrainIds.png", {"0": 7, "10": 4000}),
    ("elsewhere/unrelated_labelTrainIds.png", {"1": 1}),
)


@pytest.mark.parametrize("where", ["camvid", "given"])
def test_daformers_file_is_preferred_to_counting(two_images, tmp_path, where):
    folder = two_images.root / "camvid" if where == "camvid" else tmp_path / "given"
    folder.mkdir(exist_ok=True)
    (folder / "sample_class_stats.json").write_text(GIVEN)
    got = pixels("" if where == "camvid" else str(folder))
    assert got.dtype == np.int64
    assert {(i, c): n for (i, c), n in np.ndenumerate(got) if n} == {
        (0, 0): 7,
        (0, 10): 4000,
        (1, 3): 1000,
    }


def as_dictionary(text):
    return json.dumps({entry.pop("file"): entry for entry in json.loads(text)})


@pytest.mark.parametrize("where", ["camvid", "given"])
def test_daformers_dictionary_is_read_where_the_list_is_missing(two_images, tmp_path, where):
    folder = two_images.root / "camvid" if where == "camvid" else tmp_path / "given"
    folder.mkdir(exist_ok=True)
    (folder / "sample_class_stats_dict.json").write_text(as_dictionary(GIVEN))
    got = pixels("" if where == "camvid" else str(folder))
    assert (got[0, 0], got[0, 10], got[1, 3], got.sum()) == (7, 4000, 1000, 5007)
    (folder / "sample_class_stats.json").write_text(GIVEN.replace("4000", "4001"))
    assert pixels("" if where == "camvid" else str(folder))[0, 10] == 4001


@pytest.mark.parametrize("name", ["camvid_day_val", "camvid_dusk_train_labeled"])
def test_statistics_of_the_source_split_are_not_taken_for_other_splits(two_images, name):
    """They lie in one folder; the other splits are counted."""
    two_images.camvid_pair("val", "0016E5_7", np.full((3, 4), 2))
    two_images.camvid_pair("train", "0001TP_7", np.full((3, 4), 2))
    (two_images.root / "camvid/sample_class_stats.json").write_text(GIVEN)
    assert class_pixels(name, DatasetCatalog.get(name), "")[0, 2] == 12


def test_cityscapes_names_in_daformers_file(folder, tmp_path):
    stem = "bonn/bonn_000000_000007"
    folder.image(f"cityscapes/leftImg8bit/train/{stem}_leftImg8bit.png")
    folder.label(f"cityscapes/gtFine/train/{stem}_gtFine_labelIds.png", [[7]])
    text = stats((f"data/gtFine/train/{stem}_gtFine_labelTrainIds.png", {"18": 5}))
    (folder.root / "cityscapes/sample_class_stats.json").write_text(text)
    name = "cityscapes_fine_sem_seg_train"
    assert class_pixels(name, DatasetCatalog.get(name), "")[0, 18] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (stats(("x/00001_labelTrainIds.png", {"0": 1})), "another data set's statistics"),
        ("[{", "holds no class statistics"),
        ('{"a": 1}', "holds no class statistics"),
        (GIVEN.replace('"10"', '"11"'), "holds no class statistics"),
        (stats(("a/0006R0_0.png", {}), ("b/0006R0_0.png", {})), "two entries"),
        (
            as_dictionary(stats(("x/1_labelTrainIds.png", {"0": 1}))),
            "another data set's statistics",
        ),
    ],
)
def test_unusable_statistics(two_images, tmp_path, text, message):
    (tmp_path / "sample_class_stats.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        pixels(str(tmp_path))
    assert "sample_class_stats.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_stats_folder_without_the_file(two_images, tmp_path):
    with pytest.raises(InputError, match=r"RARE_CLASS.STATS.*sample_class_stats.json"):
        pixels(str(tmp_path))


def test_unlabelled_source(day_and_dusk):
    name = "camvid_dusk_train"
    with pytest.raises(InputError, match=f"'{name}', which has no labels"):
        class_pixels(name, DatasetCatalog.get(name), "")


def test_label_with_unknown_ids_is_named(two_images):
    two_images.label("camvid/trainannot/0016E5_1.png", [[3, 12, 77]])
    with pytest.raises(
        InputError, match=r"0016E5_1.png holds values .*: 12 \(1 pixels\), 77 \(1 pixels\)"
    ):
        pixels()


def test_damaged_label_is_named(two_images):
    path = two_images.root / "camvid/trainannot/0016E5_1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"0016E5_1.png cannot be decoded"):
        pixels()


def test_label_that_a_users_list_names_but_is_not_there(folder):
    entry = {"file_name": "x", "sem_seg_file_name": str(folder.root / "gone.png")}
    with pytest.raises(InputError, match=r"gone.png cannot be read"):
        class_pixels(NAME, [entry], "")


def test_other_processes_get_the_first_ones_result_or_error(two_images, monkeypatch):
    monkeypatch.setattr(parallel.comm, "is_main_process", lambda: False)
    sent = [EXPECTED, None]
    monkeypatch.setattr(parallel.comm, "all_gather", lambda own: [sent[0], own])
    monkeypatch.setattr(class_statistics, "read_train_ids", None)  # not for this process
    assert pixels() is EXPECTED
    sent[0] = InputError("label file x is damaged")
    with pytest.raises(InputError, match="label file x is damaged"):
        pixels()


# labels that have changed


def test_statistics_without_a_word_on_their_labels_are_read_with_a_line(two_images, caplog):
    """Released ones: only the times can be compared."""
    path = two_images.root / "camvid/sample_class_stats.json"
    path.write_text(GIVEN)
    assert pixels()[0, 10] == 4000
    assert caplog.text == ""
    label = two_images.root / "camvid/trainannot/0016E5_1.png"
    os.utime(path, ns=(1, label.stat().st_mtime_ns - 1))
    assert pixels()[0, 10] == 4000
    assert re.search(r"sample_class_stats.json is older than \S+0016E5_1.png", caplog.text)
