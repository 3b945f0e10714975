"""The command lines beside the training script, in miniature."""

import base64
import hashlib
import zipfile

import cv2
import pytest
from command_line import ROOT, SMALL, SMOKE

pytestmark = pytest.mark.integration


def pairs(options):
    return [str(part) for pair in options.items() for part in pair]


def test_benchmark_step_times_all_parts(load_tool, bank, capsys):
    options = {**SMALL, "MODEL.COPT.TEXT_BANK": bank, "DATALOADER.NUM_WORKERS": 1}
    arguments = ["--config-file", str(SMOKE), "--steps", "3", *pairs(options)]
    load_tool("benchmark_step").main(arguments)
    printed = capsys.readouterr().out
    rows = {line[:20].strip(): line[20:].split() for line in printed.splitlines()}
    parts = [
        *("waiting for data", "teacher update", "preprocessing", "source forward"),
        *("source backward", "mixed forward", "mixed backward", "masked forward"),
        *("masked backward", "optimizer"),
    ]
    medians = [float(rows[part][0]) for part in parts]
    assert all(seconds > 0 for seconds in medians)
    shares = [float(rows[part][2]) for part in parts]
    assert sum(shares) == pytest.approx(100, abs=1)
    step = float(printed.partition("\nstep ")[2].split()[0])
    assert step == pytest.approx(sum(medians), abs=2e-3)
    memory = printed.partition("peak RSS ")[2]
    own, worker = memory.partition(" MiB; of the loader's workers: ")[::2]
    assert float(own) > 100
    assert float(worker.split()[0]) > 50


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--config-file", str(ROOT / "configs/base/copt.yaml")], "DATASETS.TRAIN is empty"),
        (["--config-file", str(SMOKE), "--steps", "0"], "--steps is 0"),
    ],
)
def test_benchmark_step_says_what_is_wrong(load_tool, capsys, arguments, part):
    with pytest.raises(SystemExit) as ended:
        load_tool("benchmark_step").main(arguments)
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert part in lines[0]


def test_demo_makes_scenes_trains_both_and_draws(load_tool, camvid, tmp_path, capfd, monkeypatch):
    demo = load_tool("demo")
    counts = ["--source", "6", "--target", "4", "--val", "3", "--width", "128"]
    monkeypatch.setattr(demo, "SCENES", counts)
    small = {
        **{"MODEL.TIMM.NAME": "test_efficientnet", "MODEL.TIMM.WEIGHTS": "", "SOLVER.MAX_ITER": 3},
        **{"MODEL.SEM_SEG_HEAD.CONVS_DIM": 8, "DATALOADER.NUM_WORKERS": 0},
        **{"DATALOADER.RARE_CLASS.MIN_PIXELS": 1, "INPUT.CROP.SIZE": "[64,96]"},
        **{"INPUT.SOURCE_RESIZE": "[]", "INPUT.TARGET_RESIZE": "[]", "INPUT.TEST_RESIZE": "[]"},
    }
    folders = ["--out", str(tmp_path / "out"), "--datasets", str(tmp_path / "sets")]
    demo.main(["--seed", "4", *folders, *pairs(small)])
    printed = capfd.readouterr().out
    table = printed[printed.rindex("class  ") :]
    assert [word for word in ("road", "building", "sky", "mIoU of") if word not in table] == []
    assert "source-only" in table.splitlines()[0]
    assert "adapted" in table.splitlines()[0]
    assert "--config-file camvid_day2dusk" in table.splitlines()[-1]  # the data is there
    sheet = cv2.imread(str(tmp_path / "out" / "demo.png"))
    # image, two predictions and ground truth of three scenes, and a legend
    assert sheet.shape == (24 + 3 * 160, 4 * 320 + 170, 3)


def test_detectron2_wheel_loses_what_does_not_fit(load_tool, tmp_path):
    original = tmp_path / "sal_detectron2-0.7.2-cp310-cp310-linux_x86_64.whl"
    info = "sal_detectron2-0.7.2.dist-info"
    with zipfile.ZipFile(original, "w") as wheel:
        wheel.writestr("detectron2/__init__.py", "")
        wheel.writestr("detectron2/_C.cpython-310.so", b"binary")
        wheel.writestr("tools/train.py", "")
        wheel.writestr(f"{info}/METADATA", "Name: x\nRequires-Dist: numpy<2\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Root-Is-Purelib: false\nTag: cp310-cp310-linux_x86_64\n")
        wheel.writestr(f"{info}/RECORD", "old")
    (tmp_path / "new").mkdir()
    path = load_tool("install_detectron2").pure_wheel(original, tmp_path / "new")
    assert path.name == "sal_detectron2-0.7.2-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        kept = {name: wheel.read(name) for name in wheel.namelist()}
    assert set(kept) == {
        *("detectron2/__init__.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
    }
    assert kept[f"{info}/METADATA"] == b"Name: x\nVersion: 1\n"
    assert b"Tag: py3-none-any" in kept[f"{info}/WHEEL"]
    assert b"cp310" not in kept[f"{info}/WHEEL"]
    for line in kept[f"{info}/RECORD"].decode().splitlines():
        name, digest, size = line.split(",")
        if digest:
            expected = base64.urlsafe_b64encode(hashlib.sha256(kept[name]).digest()).rstrip(b"=")
            assert digest == f"sha256={expected.decode()}"
            assert int(size) == len(kept[name])


INFERENCE = {
    **{"MODEL.BACKBONE.NAME": "build_timm_backbone", "MODEL.TIMM.NAME": "test_efficientnet"},
    **{"MODEL.TIMM.WEIGHTS": "", "MODEL.SEM_SEG_HEAD.CONVS_DIM": 8, "MODEL.HRDA.CROP_SIZE": 64},
    **{"TEST.WINDOW": "(128,128)", "TEST.STRIDE": "(64,64)"},
}


def test_benchmark_inference_times_all_parts(load_tool, capsys):
    options = pairs(INFERENCE)
    load_tool("benchmark_inference").main(["--size", "128", "256", "--repeats", "2", *options])
    printed = capsys.readouterr().out
    rows = {line[:23].strip(): line[23:].split() for line in printed.splitlines()}
    parts = ["encoder", "decoder", "scale attention", "resizing and averaging"]
    seconds = [float(rows[part][0]) for part in parts]
    assert all(value > 0 for value in seconds)
    assert "image of 128x256, windows: 3" in printed
    total = float(printed.partition("\nimage ")[2].partition("\nimage ")[2].split()[0])
    assert total == pytest.approx(sum(seconds), abs=2e-3)
    assert "peak RSS" in printed


def test_benchmark_inference_times_no_wrong_result(load_tool, capsys, monkeypatch):
    tool = load_tool("benchmark_inference")
    original = tool.windows_one_by_one
    monkeypatch.setattr(
        tool, "windows_one_by_one", lambda *given: (original(*given)[0] + 0.01, original(*given)[1])
    )
    with pytest.raises(SystemExit) as ended:
        tool.main(["--size", "128", "128", "--repeats", "1", *pairs(INFERENCE)])
    assert ended.value.code == 1
    assert "differs from the mean over its windows" in capsys.readouterr().err
