import json
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from copt_d2.data import prepare
from copt_d2.data.checking import check_split
from copt_d2.data.class_statistics import class_pixels
from copt_d2.data.datasets import SPLITS
from copt_d2.data.prepare import prepare_source
from copt_d2.errors import InputError

GTA = SPLITS["gta_sem_seg_train"]
STATISTICS = (
    *("sample_class_stats.json", "sample_class_stats_dict.json"),
    "samples_with_class.json",
)


@pytest.fixture
def gta(folder):
    """Three labels of 2x3: road, sky and void; sky; car (26) and license plate (34)."""
    values = [[[7, 7, 23], [0, 7, 7]], [[23] * 3] * 2, [[26, 26, 34], [26, 34, 34]]]
    palette = [(i, i, 200) for i in range(256)]
    for number, ids in enumerate(values, 1):
        folder.image(f"gta/images/{number:05}.png", (2, 3))
        folder.palette_label(f"gta/labels/{number:05}.png", ids, palette)
    return folder.root / "gta"


def stored(path):
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).tolist()


def contents(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_maps_hold_train_ids(gta):
    assert prepare_source(GTA, gta, jobs=2) == (3, 3)
    assert sorted(path.name for path in (gta / "labels").glob("*_labelTrainIds*")) == [
        f"0000{i}_labelTrainIds.png" for i in (1, 2, 3)
    ]
    assert stored(gta / "labels/00001_labelTrainIds.png") == [[0, 0, 10], [255, 0, 0]]
    assert stored(gta / "labels/00003_labelTrainIds.png") == [[13, 13, 255], [13, 255, 255]]


def test_statistics_by_hand(gta):
    prepare_source(GTA, gta, jobs=1)
    files = [str(gta / f"labels/0000{i}_labelTrainIds.png") for i in (1, 2, 3)]
    listed, dictionary, by_class = (json.loads((gta / name).read_text()) for name in STATISTICS)
    assert listed == [
        {"0": 4, "10": 1, "file": files[0]},
        {"10": 6, "file": files[1]},
        {"13": 3, "file": files[2]},
    ]
    assert dictionary == {files[0]: {"0": 4, "10": 1}, files[1]: {"10": 6}, files[2]: {"13": 3}}
    assert by_class == {
        "0": [[files[0], 4]],
        "10": [[files[0], 1], [files[1], 6]],
        "13": [[files[2], 3]],
    }


@pytest.mark.parametrize("removed", [[], ["sample_class_stats.json"]])
def test_training_reads_them_instead_of_counting(gta, monkeypatch, removed):
    prepare_source(GTA, gta, jobs=1)
    for name in removed:
        (gta / name).unlink()
    monkeypatch.setattr("copt_d2.data.class_statistics.read_train_ids", None)
    pixels = class_pixels("gta_sem_seg_train", DatasetCatalog.get("gta_sem_seg_train"), "")
    assert {(i, c): n for (i, c), n in np.ndenumerate(pixels) if n} == {
        **{(0, 0): 4, (0, 10): 1, (1, 10): 6, (2, 13): 3}
    }


def test_names_that_are_no_utf8(folder):
    """As zips from Windows unpack; the fingerprint of the cache reads such names, too."""
    name = os.fsdecode(b"0006R0_stra\xdfe")
    folder.camvid_pair("train", name, [[0, 3]])
    split, root = "camvid_day_train", folder.root / "camvid"
    assert used(split) == {(0, 0): 1, (0, 3): 1}
    assert prepare_source(SPLITS[split], root, jobs=1) == (1, 1)
    assert used(split) == {(0, 0): 1, (0, 3): 1}
    assert json.loads((root / STATISTICS[0]).read_text())[0]["file"].endswith(
        f"{name}_labelTrainIds.png"
    )
    assert check_split(split, SPLITS[split], root, jobs=1).maps == 1


def test_maps_change_no_listing(gta):
    before = DatasetCatalog.get("gta_sem_seg_train")
    prepare_source(GTA, gta, jobs=1)
    assert DatasetCatalog.get("gta_sem_seg_train") == before


def test_threads_do_not_change_the_files(gta):
    prepare_source(GTA, gta, jobs=1)
    serial = contents(gta)
    for path in gta.rglob("*_labelTrainIds.png"):
        path.unlink()
    prepare_source(GTA, gta, jobs=3)
    assert contents(gta) == serial


def test_own_folder_may_have_any_name(gta, monkeypatch):
    prepare_source(GTA, gta, jobs=1)
    by_name = {name: (gta / name).read_text() for name in STATISTICS}
    moved = gta.rename(gta.parent / "GTA5")
    prepare_source(GTA, moved, jobs=1)
    expected = by_name[STATISTICS[2]].replace("/gta/", "/GTA5/")
    assert (moved / STATISTICS[2]).read_text() == expected
    monkeypatch.chdir(moved)
    assert prepare_source(GTA, moved.relative_to(moved), jobs=1) == (3, 0)


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("synthia_sem_seg_train", "GT/LABELS/0000000", [[0, 3], [255, 10]]),
        (
            "cityscapes_fine_sem_seg_train",
            "gtFine/train/ulm/ulm_000001_000019_gtFine",
            [[1, 18], [255, 10]],
        ),
        ("camvid_day_train", "trainannot/0006R0_f00001", [[0, 3], [255, 10]]),
    ],
)
def test_maps_of_the_other_sources(folder, name, label, expected):
    folder.image("synthia/RGB/0000000.png", (2, 2))
    folder.synthia_label("synthia/GT/LABELS/0000000.png", [[3, 21], [22, 1]])
    stem = "train/ulm/ulm_000001_000019"
    folder.image(f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png", (2, 2))
    folder.label(f"cityscapes/gtFine/{stem}_gtFine_labelIds.png", [[8, 33], [0, 23]])
    folder.camvid_pair("train", "0006R0_f00001", [[0, 3], [11, 10]])
    folder.camvid_pair("train", "0001TP_006690", [[0, 3], [11, 10]])  # dusk is no source
    root = folder.root / SPLITS[name].layout.folder
    assert prepare_source(SPLITS[name], root, jobs=1) == (1, 1)
    assert stored(root / f"{label}_labelTrainIds.png") == expected
    (entry,) = json.loads((root / "sample_class_stats.json").read_text())
    assert entry["file"] == str(root / f"{label}_labelTrainIds.png")
    assert sum(n for c, n in entry.items() if c != "file") == 3


# labels that have changed


def used(name="gta_sem_seg_train"):
    pixels = class_pixels(name, DatasetCatalog.get(name), "")
    return {(int(i), int(c)): int(n) for (i, c), n in np.ndenumerate(pixels) if n}


OLD = {(0, 0): 4, (0, 10): 1, (1, 10): 6, (2, 13): 3}
NEW = {**OLD, (1, 10): 4, (1, 1): 2}


def change(folder, keep_time=False):
    """Two pixels of the second image are sidewalk now."""
    path = folder.root / "gta/labels/00002.png"
    before = path.stat()
    folder.label("gta/labels/00002.png", [[23, 23, 23], [23, 8, 8]])
    if keep_time:  # an older version comes back, with its own, older time
        os.utime(path, ns=(before.st_atime_ns - 10**12,) * 2)


@pytest.mark.parametrize("keep_time", [False, True])
def test_changed_labels_are_counted_anew(folder, gta, caplog, keep_time):
    prepare_source(GTA, gta, jobs=1)
    assert used() == OLD
    assert caplog.text == ""
    change(folder, keep_time)
    assert used() == NEW
    assert re.search(r"stats.json does not count: \S+00002.png.* has changed", caplog.text)
    with pytest.raises(InputError, match=r"00002_labelTrainIds.png does not show the classes of"):
        check_split("gta_sem_seg_train", GTA, gta, jobs=1)
    caplog.clear()
    assert prepare_source(GTA, gta, jobs=1) == (3, 1)
    assert stored(gta / "labels/00002_labelTrainIds.png") == [[10] * 3, [10, 1, 1]]
    assert used() == NEW
    assert caplog.text == ""
    assert check_split("gta_sem_seg_train", GTA, gta, jobs=1).maps == 3


def test_check_looks_at_the_statistics_too(folder, gta):
    """The maps are gone, so only the statistics tell of the old labels."""
    prepare_source(GTA, gta, jobs=1)
    for path in gta.rglob("*_labelTrainIds.png"):
        path.unlink()
    change(folder)
    with pytest.raises(InputError, match=r"stats.json does not hold the pixels .* in \S+00002.png"):
        check_split("gta_sem_seg_train", GTA, gta, jobs=1)


def test_statistics_by_another_table_do_not_count(gta, caplog):
    swapped = list(GTA.label_space.table)
    swapped[7], swapped[23] = swapped[23], swapped[7]
    prepare_source(replace(GTA, label_space=replace(GTA.label_space, table=tuple(swapped))), gta, 1)
    assert used() == OLD
    assert "00001.png, or the table" in caplog.text
    assert prepare_source(GTA, gta, jobs=1) == (3, 3)


def test_maps_of_other_programs_are_kept_unless_they_are_older(gta):
    """Cityscapes' own scripts write them, without a word on their labels."""
    prepare_source(GTA, gta, jobs=1)
    paths = [gta / f"labels/0000{i}_labelTrainIds.png" for i in (1, 2)]
    for path in paths:
        Image.fromarray(np.array(stored(path), np.uint8)).save(path)
    label = gta / "labels/00002.png"
    os.utime(paths[1], ns=(1, label.stat().st_mtime_ns - 1))
    kept = paths[0].read_bytes()
    assert prepare_source(GTA, gta, jobs=1) == (3, 1)
    assert paths[0].read_bytes() == kept


def test_statistics_that_another_program_has_written_since_count(gta, caplog):
    prepare_source(GTA, gta, jobs=1)
    listed = json.loads((gta / STATISTICS[0]).read_text())
    listed[1]["10"] = 5
    (gta / STATISTICS[0]).write_text(json.dumps(listed))
    assert used()[1, 10] == 5


# restart


def test_maps_that_are_there_are_kept(gta):
    prepare_source(GTA, gta, jobs=1)
    kept, damaged = (gta / f"labels/0000{i}_labelTrainIds.png" for i in (1, 3))
    whole = contents(gta)
    os.utime(kept, ns=(1, 1))
    (gta / "labels/00002_labelTrainIds.png").unlink()
    damaged.write_bytes(damaged.read_bytes()[:30])  # by another program: ours leaves no half files
    assert prepare_source(GTA, gta, jobs=1) == (3, 2)
    assert kept.stat().st_mtime_ns == 1
    assert contents(gta) == whole


def test_map_of_another_size_or_label_space_is_made_anew(gta):
    for i, values in ((1, [[0]]), (2, [[99] * 3] * 2)):
        Image.fromarray(np.array(values, np.uint8)).save(gta / f"labels/0000{i}_labelTrainIds.png")
    assert prepare_source(GTA, gta, jobs=1) == (3, 3)
    assert stored(gta / "labels/00002_labelTrainIds.png") == [[10] * 3] * 2


def test_a_killed_run_goes_on_where_it_was(gta, monkeypatch):
    """The kill comes when the second map is half written."""
    child = os.fork()
    if child == 0:
        replace = os.replace

        def kill_at_the_second(temporary, path):
            if path.name.startswith("00002"):
                temporary.write_bytes(temporary.read_bytes()[:20])
                os.kill(os.getpid(), signal.SIGKILL)
            replace(temporary, path)

        os.replace = kill_at_the_second
        try:
            prepare_source(GTA, gta, jobs=1)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    names = {path.name for path in (gta / "labels").iterdir()}
    assert {name for name in names if "TrainIds" in name} == {
        *("00001_labelTrainIds.png", "00002_labelTrainIds.png.tmp")
    }
    assert not (gta / STATISTICS[0]).exists()
    read, read_train_ids = [], prepare.read_train_ids
    monkeypatch.setattr(
        *(prepare, "read_train_ids"),
        lambda path, table: read.append(path) or read_train_ids(path, table),
    )
    assert prepare_source(GTA, gta, jobs=1) == (3, 2)
    assert str(gta / "labels/00001.png") not in read
    assert not list(gta.rglob("*.tmp"))
    assert stored(gta / "labels/00002_labelTrainIds.png") == [[10] * 3] * 2
    assert len(json.loads((gta / STATISTICS[0]).read_text())) == 3


def test_no_statistics_of_a_part(gta):
    (gta / "labels/00003.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"00003.png cannot be decoded"):
        prepare_source(GTA, gta, jobs=2)
    assert not any((gta / name).exists() for name in STATISTICS)


@pytest.mark.parametrize("name", [*STATISTICS, "labels/00002_labelTrainIds.png"])
def test_a_full_disk_leaves_nothing_half_written(gta, monkeypatch, name):
    prepare_source(GTA, gta, jobs=1)
    (gta / "labels/00002_labelTrainIds.png").unlink()
    before = contents(gta)
    write_bytes = type(gta).write_bytes

    def full(path, content):
        write_bytes(path, content[:10])
        if path.name.startswith(name.split("/")[-1]):
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(type(gta), "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        prepare_source(GTA, gta, jobs=1)
    after = contents(gta)
    assert all(after[path] == content for path, content in before.items())
    assert not list(gta.rglob("*.tmp"))
