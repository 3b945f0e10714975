"""The paper's four benchmarks on generated scenes, with the commands that a user types: scenes,
preparation, training, evaluation of the checkpoint, submission.
"""

import json
import zipfile

import cv2
import in_process
import numpy as np
import pytest
import torch
from command_line import ROOT
from safetensors.torch import save_file

from copt_d2.data.label_spaces import CITYSCAPES, CITYSCAPES_16, CITYSCAPES_CLASSES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WIDTH, HEIGHT = 256, 128
COUNTS = ["--source", "12", "--target", "8", "--val", "4", "--width", str(WIDTH)]
# the published method in small: MiT-B0, scenes at their stored size, an eighth of the crops
REDUCED = {
    **{"MODEL.MIT.VARIANT": "b0", "MODEL.MIT.WEIGHTS": "", "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32},
    **{"MODEL.HRDA.CROP_SIZE": 64, "INPUT.CROP.SIZE": "[128,128]", "SOLVER.MAX_ITER": 20},
    **{f"INPUT.{kind}_RESIZE": f"[{WIDTH},{HEIGHT}]" for kind in ("SOURCE", "TARGET", "TEST")},
    **{"INPUT.VALID_MARGINS": "[4,30,4,4]", "MODEL.UDA.MASK_BLOCK_SIZE": 16},
    **{"DATALOADER.RARE_CLASS.MIN_PIXELS": 5, "DATALOADER.RARE_CLASS.MIN_CROP_RATIO": 1.0},
    **{"TEST.WINDOW": "[128,128]", "TEST.STRIDE": "[64,64]", "SOLVER.WARMUP_ITERS": 2},
    **{"SOLVER.CHECKPOINT_PERIOD": 10, "SOLVER.LOG_PERIOD": 5, "DATALOADER.NUM_WORKERS": 0},
}
# source and its preparation, evaluated split, export format, split without labels
BENCHMARKS = {
    "gta2cs": ("gta", "cityscapes_fine_sem_seg_val", "cityscapes", None),
    "synthia2cs": ("synthia", "cityscapes_fine_sem_seg_val", "cityscapes", None),
    "cs2dz": ("cityscapes", "dark_zurich_sem_seg_val", "dark_zurich", "dark_zurich_sem_seg_test"),
    "cs2acdc": ("cityscapes", "acdc_sem_seg_val", "acdc", "acdc_sem_seg_test"),
}


@pytest.fixture(scope="module")
def text_bank(tmp_path_factory):
    """A bank made without a network: rows of drawn numbers under Cityscapes' names."""
    path = tmp_path_factory.mktemp("bank") / "bank.safetensors"
    rows = torch.randn(19, 16, generator=torch.Generator().manual_seed(1))
    names = json.dumps(CITYSCAPES_CLASSES)
    metadata = {"class_names": names, "templates": "[]", "encoder": "test", "averaging": "none"}
    save_file({"text_embeddings": rows}, path, metadata)
    return path


@pytest.fixture(scope="module", params=BENCHMARKS)
def trained(request, load_tool, text_bank, tmp_path_factory):
    """(benchmark, folder of the sets, run folder, function that runs train_net)."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    sets, run = folder / "sets", folder / "run"

    def train_net(*flags, **more):
        options = {**REDUCED, "MODEL.COPT.TEXT_BANK": text_bank, "OUTPUT_DIR": run, **more}
        pairs = [str(part) for pair in options.items() for part in pair]
        config = ["--config-file", str(ROOT / "configs" / f"{name}.yaml")]
        in_process.train_net.run([*config, *flags, *pairs])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(sets))
        source = BENCHMARKS[name][0]
        arguments = ["--benchmark", name, "--out", str(sets), "--seed", "3", *COUNTS]
        assert not load_tool("make_scenes").main(arguments)
        assert not load_tool("prepare_dataset").main([source, str(sets / source)])
        train_net()
    return name, sets, run, train_net


@pytest.fixture(autouse=True)
def these_sets(surroundings, trained, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(trained[1]))


def record(run, dataset):
    return json.loads((run / "evaluation" / f"{dataset}.json").read_text())


def test_all_losses_and_both_resolutions(trained):
    _, _, run, _ = trained
    lines = [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]
    losses = {key for key in lines[0] if key.startswith("loss_")}
    assert losses == {
        *(
            f"loss_{phase}_ce{part}"
            for phase in ("source", "mixed", "masked")
            for part in ("", "_detail")
        ),
        *("loss_source_feature_distance", "loss_source_copt"),
    }
    assert all(np.isfinite(line[key]) for line in lines if "total_loss" in line for key in losses)


def test_statistics_of_the_preparation_are_used(trained):
    name, sets, _, _ = trained
    folder = sets / BENCHMARKS[name][0]
    entries = json.loads((folder / "sample_class_stats.json").read_text())
    assert len(entries) == 12
    pixels = sum(count for entry in entries for key, count in entry.items() if key != "file")
    assert 0 < pixels <= 12 * WIDTH * HEIGHT


def test_the_checkpoint_has_the_scores_of_the_training(trained):
    name, _, run, train_net = trained
    dataset = BENCHMARKS[name][1]
    first = record(run, dataset)
    train_net("--eval-only", **{"MODEL.WEIGHTS": run / "model_final.pth"})
    again = record(run, dataset)
    assert (again["IoU"], again["mIoU"]) == (first["IoU"], first["mIoU"])
    assert again["generated_scenes"]
    classes = CITYSCAPES_16 if name == "synthia2cs" else range(19)
    assert again["classes_in_mean"] == [CITYSCAPES_CLASSES[k] for k in classes]
    if name == "cs2acdc":
        assert set(again["conditions"]) == {"fog", "night", "rain", "snow"}


def test_submission(trained):
    name, sets, run, train_net = trained
    _, labelled, format_, unlabelled = BENCHMARKS[name]
    dataset = unlabelled or labelled
    train_net(
        "--eval-only",
        **{"MODEL.WEIGHTS": run / "model_final.pth", "DATASETS.TEST": f"('{dataset}',)"},
        **{"TEST.EXPORT": f"('{format_}',)"},
    )
    folder = run / "export" / dataset
    with zipfile.ZipFile(folder / f"{format_}.zip") as archive:
        files = [entry for entry in archive.namelist() if not entry.endswith("/")]
        maps = [
            cv2.imdecode(np.frombuffer(archive.read(file), np.uint8), cv2.IMREAD_UNCHANGED)
            for file in files
        ]
    assert {m.shape for m in maps} == {(HEIGHT, WIDTH)}
    images = {
        path.name
        for path in sets.rglob("*.png")
        if "leftImg8bit" in path.name or "rgb_anon" in path.name
    }
    assert {file.rpartition("/")[2] for file in files} <= images
    folders = {file.rpartition("/")[0] for file in files}
    expected = {
        "cityscapes": {""},
        "acdc": {"labelTrainIds"},
        "dark_zurich": {"labelTrainIds", "labelTrainIds_invalid", "confidence"},
    }
    assert folders == expected[format_]
    known = [k for k, train_id in enumerate(CITYSCAPES.table) if train_id < 19]
    allowed = known if format_ == "cityscapes" else range(19)
    values = [m for m, file in zip(maps, files, strict=True) if "confidence" not in file]
    assert all(np.isin(m, allowed).all() for m in values)
    assert record(run, dataset)["labelled"] == (unlabelled is None)
