"""The command line, on all sets."""

import numpy as np
import pytest

STEM = "GOPR0475/GOPR0475_frame_000041"


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("prepare_dataset")


@pytest.fixture
def sets(folder):
    """One image of 2x3 or more in every split of every set, with fitting labels."""
    folder.image("gta/images/00001.png", (2, 3))
    folder.label("gta/labels/00001.png", [[7, 7, 23], [0, 7, 7]])
    folder.image("synthia/RGB/0000000.png", (2, 3))
    folder.synthia_label("synthia/GT/LABELS/0000000.png", np.full((2, 3), 3))
    for split in ("train", "val", "test"):
        stem = f"{split}/ulm/ulm_000000_000019"
        folder.image(f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png", (2, 3))
        folder.label(f"cityscapes/gtFine/{stem}_gtFine_labelIds.png", np.full((2, 3), 33))
        for condition in ("fog", "night", "rain", "snow"):
            folder.image(f"acdc/rgb_anon/{condition}/{split}/{STEM}_rgb_anon.png", (2, 3))
    for condition in ("fog", "night", "rain", "snow"):
        folder.label(f"acdc/gt/{condition}/val/{STEM}_gt_labelTrainIds.png", [[0, 18, 255]] * 2)
    folder.image(f"acdc/rgb_anon/snow/val/{STEM.replace('41', '42')}_rgb_anon.png", (2, 3))
    folder.label(f"acdc/gt/snow/val/{STEM.replace('41', '42')}_gt_labelTrainIds.png", [[1] * 3] * 2)
    for below in ("train/night", "train/day", "val/night", "test/night"):
        folder.image(f"dark_zurich/rgb_anon/{below}/{STEM}_rgb_anon.png", (2, 3))
    folder.label(f"dark_zurich/gt/val/night/{STEM}_gt_labelTrainIds.png", [[0, 18, 255]] * 2)
    for split, name in (("train", "0006R0_0"), ("train", "0001TP_0"), ("val", "0016E5_0")):
        folder.camvid_pair(split, name, [[0, 3, 11]] * 2)
    return folder


@pytest.fixture
def run(tool, sets, capsys):
    """Runs the tool; returns status, lines on standard output, lines on standard error."""

    def call(dataset, *flags, root=None):
        status = tool.main([dataset, str(root or sets.root / dataset), *flags])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def error_line(run):
    """The one line on standard error of a run that fails."""

    def call(*args, **kwargs):
        status, out, err = run(*args, **kwargs)
        assert (status, out, len(err)) == (1, [], 1), (status, out, err)
        return err[0]

    return call


@pytest.mark.parametrize(
    ("dataset", "split"),
    [
        ("gta", "gta_sem_seg_train"),
        ("synthia", "synthia_sem_seg_train"),
        ("cityscapes", "cityscapes_fine_sem_seg_train"),
        ("camvid", "camvid_day_train"),
    ],
)
def test_source_sets_are_prepared(run, sets, dataset, split):
    statistics = "sample_class_stats.json, sample_class_stats_dict.json, samples_with_class.json"
    wrote = f"wrote {statistics} in {sets.root / dataset}"
    first = f"{split}: 1 images; wrote 1 train-id maps, 0 were there already"
    again = f"{split}: 1 images; wrote 0 train-id maps, 1 were there already"
    assert run(dataset) == (0, [first, wrote], [])
    assert run(dataset, "--jobs", "2") == (0, [again, wrote], [])
    assert len(list((sets.root / dataset).rglob("*_labelTrainIds.png"))) == 1
    assert (
        f"{split}: 1 images, 1 labels of equal size with known ids, 1 train-id maps"
        in (run(dataset, "--check")[1])
    )


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (
            "acdc",
            [
                "acdc_sem_seg_train: 4 images (fog 1, night 1, rain 1, snow 1), no labels needed",
                "acdc_sem_seg_val: 5 images (fog 1, night 1, rain 1, snow 2), "
                "5 labels of equal size with known ids",
                "acdc_sem_seg_test: 4 images (fog 1, night 1, rain 1, snow 1), no labels needed",
            ],
        ),
        (
            "dark_zurich",
            [
                "dark_zurich_sem_seg_train: 1 images, no labels needed",
                "dark_zurich_twilight_sem_seg_train: not there",
                "dark_zurich_day_sem_seg_train: 1 images, no labels needed",
                "dark_zurich_sem_seg_val: 1 images, 1 labels of equal size with known ids",
                "dark_zurich_sem_seg_test: 1 images, no labels needed",
            ],
        ),
    ],
)
def test_target_sets_are_checked_and_nothing_is_written(run, sets, dataset, expected):
    before = sorted(sets.root.rglob("*"))
    assert run(dataset) == (0, expected, [])
    assert run(dataset, "--check", "--jobs", "3") == (0, expected, [])
    assert sorted(sets.root.rglob("*")) == before


def test_check_writes_nothing(run, sets):
    before = sorted(sets.root.rglob("*"))
    for dataset in ("gta", "synthia", "cityscapes", "camvid"):
        status, out, _ = run(dataset, "--check")
        assert status == 0
        assert "1 labels of equal size with known ids" in out[0]
    assert out[-1] == "camvid_dusk_test: not there"
    assert sorted(sets.root.rglob("*")) == before


def test_check_compares_maps_with_labels(run, error_line, sets):
    run("gta")
    path = sets.label("gta/labels/00001_labelTrainIds.png", np.zeros((2, 3)))
    line = error_line("gta", "--check")
    assert line.startswith(f"error: train-id map {path} does not show the classes of ")
    assert "remove it" in line


LABELS = {
    "gta": "gta/labels/00001.png",
    "synthia": "synthia/GT/LABELS/0000000.png",
    "cityscapes": "cityscapes/gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png",
    "dark_zurich": f"dark_zurich/gt/val/night/{STEM}_gt_labelTrainIds.png",
    "acdc": f"acdc/gt/rain/val/{STEM}_gt_labelTrainIds.png",
    "camvid": "camvid/trainannot/0006R0_0.png",
}
CALLS = [(d, flags) for d in LABELS for flags in ((), ("--check",))]


@pytest.mark.parametrize(("dataset", "flags"), CALLS)
def test_damaged_label(error_line, sets, dataset, flags):
    path = sets.root / LABELS[dataset]
    path.write_bytes(path.read_bytes()[:-20])
    line = error_line(dataset, *flags)
    assert line.startswith(f"error: label file {path} cannot be decoded")
    assert "restore the file" in line


@pytest.mark.parametrize(("dataset", "flags"), CALLS)
def test_label_of_another_size(error_line, sets, dataset, flags):
    (sets.synthia_label if dataset == "synthia" else sets.label)(
        LABELS[dataset], np.full((2, 4), 7)
    )
    line = error_line(dataset, *flags)
    assert "is 3x2 but its label file" in line
    assert f"{LABELS[dataset]} is 4x2" in line


@pytest.mark.parametrize(("dataset", "flags"), [c for c in CALLS if c[0] != "synthia"])
def test_ids_outside_the_table(error_line, sets, dataset, flags):
    path = sets.label(LABELS[dataset], np.full((2, 3), 77))
    assert error_line(dataset, *flags).startswith(
        f"error: label file {path} holds values that its data set does not know: 77 (6 pixels); "
    )


@pytest.mark.parametrize(("dataset", "flags"), CALLS)
def test_missing_label(error_line, sets, dataset, flags):
    (sets.root / LABELS[dataset]).unlink()
    line = error_line(dataset, *flags)
    assert f"has no label file {sets.root / LABELS[dataset]}" in line
    assert "it is published at https://" in line


@pytest.mark.parametrize("dataset", ["gta", "acdc"])
def test_damaged_image(error_line, sets, dataset):
    image = {"gta": "images/00001.png", "acdc": f"rgb_anon/fog/test/{STEM}_rgb_anon.png"}[dataset]
    path = sets.root / dataset / image
    path.write_bytes(path.read_bytes()[:-30])
    assert f"image {path} cannot be decoded" in error_line(dataset, "--check")
    path.write_bytes(b"")
    assert f"image {path} cannot be decoded" in error_line(dataset)


@pytest.mark.parametrize("dataset", LABELS)
def test_empty_and_missing_root(error_line, sets, tmp_path, dataset):
    (tmp_path / "empty").mkdir()
    line = error_line(dataset, root=tmp_path / "empty")
    assert f"folder {tmp_path}/empty/" in line
    assert "does not exist; expected ./" in line
    assert f" in {tmp_path}/empty: put the data set there (it is published at https://" in line
    line = error_line(dataset, root=tmp_path / "nowhere")
    assert line.startswith(f"error: ROOT {tmp_path}/nowhere is no folder")


def test_a_split_without_images(error_line, sets):
    (sets.root / f"acdc/rgb_anon/night/test/{STEM}_rgb_anon.png").unlink()
    assert "acdc/rgb_anon/night/test holds no image of this data set" in error_line("acdc")


def test_number_of_jobs(error_line):
    assert error_line("gta", "--jobs", "0") == "error: --jobs is 0; it must be 1 or more"


def test_unwritable_folder(error_line, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    line = error_line("gta")
    assert line.startswith("error: cannot write ")
    assert "gta/labels/00001_labelTrainIds.png.tmp (Permission denied)" in line


def test_interrupted(run, tool, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, "prepare_source", interrupt)
    assert run("gta") == (130, [], ["stopped: the same command goes on where it was"])
