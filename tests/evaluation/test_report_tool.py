"""tools/report.py: files, pictures, and what a user can do wrong."""

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from report_files import config, record, table_of, write_run

from copt_d2.data import register_dataset
from copt_d2.data.label_spaces import CITYSCAPES
from copt_d2.evaluation.pictures import LEGEND_WIDTH, colour_map

NAME = "drawn_report_val"
HEIGHT, WIDTH = 160, 320  # the width of a column: nothing is resized


@pytest.fixture
def report(load_tool, tmp_path):
    """Runs the tool: exit status; the report lies in report/all.md."""

    def run(*arguments):
        out = ["--out", str(tmp_path / "report" / "all.md")]
        return load_tool("report").main([*map(str, arguments), *out])

    return run


@pytest.fixture
def dataset(tmp_path):
    """Three images, their train ids stored as Cityscapes ids."""
    generator = np.random.default_rng(0)
    ids = np.array([CITYSCAPES.table.index(k) for k in range(19)], dtype=np.uint8)
    entries = []
    for k in range(3):
        image = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        labels = ids[generator.integers(0, 19, (HEIGHT, WIDTH))]
        files = {
            "file_name": tmp_path / f"image{k}.png",
            "sem_seg_file_name": tmp_path / f"l{k}.png",
        }
        for path, content in zip(files.values(), (image, labels), strict=True):
            cv2.imwrite(str(path), content)
        entries.append({key: str(path) for key, path in files.items()})
    register_dataset(NAME, lambda: entries, CITYSCAPES)
    yield entries
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def export(run, value, count=3):
    """Predictions of one class for all images."""
    folder = run / "export" / NAME / "train_ids"
    folder.mkdir(parents=True)
    for k in range(count):
        map_of_one_class = np.full((HEIGHT, WIDTH), value, dtype=np.uint8)
        cv2.imwrite(str(folder / f"image{k}.png"), map_of_one_class)


def test_writes_the_report(report, tmp_path, capsys):
    runs = [write_run(tmp_path / f"seed{k}", config(seed=k), record(seed=k)) for k in range(2)]
    assert report(*runs) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/report/all.md\n"
    text = (tmp_path / "report" / "all.md").read_text(encoding="utf-8")
    assert text.startswith("# Our runs beside the paper's tables")
    assert table_of(text, 1)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["all.md"]


def test_pictures_of_two_runs(report, dataset, tmp_path, capsys):
    runs = [write_run(tmp_path / f"run{k}", config(), record(NAME)) for k in range(3)]
    export(runs[0], 13)
    export(runs[1], 10)
    assert report(*runs, "--pictures", "--images", "2") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{runs[2]}: no predictions of {NAME}; make them with: copt eval "
        f"--config-file {runs[2]}/config.yaml OUTPUT_DIR {runs[2]} "
        "TEST.EXPORT \"('train_ids',)\"",
        f"wrote {tmp_path}/report/all.md, {tmp_path}/report/all_{NAME}.png",
    ]
    assert f"![all_{NAME}](all_{NAME}.png)" in (tmp_path / "report" / "all.md").read_text()
    sheet = cv2.imread(str(tmp_path / "report" / f"all_{NAME}.png"))
    # image, two predictions, ground truth of the first and the last image
    assert sheet.shape[1] == 4 * WIDTH + LEGEND_WIDTH
    for row, k in enumerate((0, 2)):
        line = sheet[24 + row * HEIGHT : 24 + (row + 1) * HEIGHT]
        np.testing.assert_array_equal(line[:, :WIDTH], cv2.imread(dataset[k]["file_name"]))
        for column, value in ((1, 13), (2, 10)):
            tile = line[:, column * WIDTH : (column + 1) * WIDTH, ::-1]
            assert (tile == CITYSCAPES.palette[value]).all()
        stored = cv2.imread(dataset[k]["sem_seg_file_name"], cv2.IMREAD_UNCHANGED)
        truth = colour_map(np.array(CITYSCAPES.table)[stored], CITYSCAPES.palette)
        np.testing.assert_array_equal(line[:, 3 * WIDTH : 4 * WIDTH, ::-1], truth)


def test_an_export_without_one_image(report, dataset, tmp_path, capsys):
    run = write_run(tmp_path / "run", config(), record(NAME))
    export(run, 0, count=2)
    assert report(run, "--pictures") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: label file {run}/export/{NAME}/train_ids/image2.png cannot")


@pytest.mark.parametrize(
    ("spoil", "arguments", "told"),
    [
        (lambda run: None, ["absent"], "absent is no folder"),
        (lambda run: (run / "config.yaml").unlink(), [], "holds no config.yaml"),
        (
            lambda run: (run / "evaluation" / "a.json").write_text("{"),
            [],
            "a.json is damaged",
        ),
        (lambda run: None, ["--images", "0"], "--images is 0"),
        (lambda run: export(run, 0), ["--pictures"], f"there is no data set '{NAME}'"),
    ],
)
def test_mistakes_end_in_one_line(report, tmp_path, capsys, spoil, arguments, told):
    run = write_run(tmp_path / "run", config(), record(NAME))
    spoil(run)
    assert report(run, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert told in lines[0]


def test_a_report_that_cannot_be_written(report, tmp_path, capsys):
    run = write_run(tmp_path / "run", config(), record())
    (tmp_path / "report").write_text("a file")
    assert report(run) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/report: ")
