"""The smoke config trains, evaluates and writes what the specification of outputs lists."""

import json
import shutil
from pathlib import Path

import cv2
import in_process
import numpy as np
import pytest
import torch
from command_line import ROOT, SMOKE
from comparing import metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from copt_d2.data.label_spaces import CAMVID, CAMVID_FENCE
from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.installation import code_version

pytestmark = pytest.mark.integration

SHEET = ROOT / "output" / "tests" / "prediction_sheet.png"
LOSSES = {
    *("loss_source_ce", "loss_source_feature_distance", "loss_source_copt"),
    *("loss_mixed_ce", "loss_masked_ce", "total_loss"),
}


@pytest.fixture(scope="module")
def smoke(camvid, cache, tmp_path_factory):
    """Output folder of the smoke config as it stands: real encoders of images and text."""
    output = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(["--config-file", str(SMOKE), "OUTPUT_DIR", str(output)])
    return output


def test_all_losses_are_logged_by_name_and_become_smaller(smoke):
    lines = [line for line in metrics(smoke) if "total_loss" in line]
    assert [line["iteration"] for line in lines] == [9, 19, 29, 39]
    for line in lines:
        assert set(line) >= LOSSES | {"lr", "pseudo_label_weight"}
        parts = sum(line[name] for name in LOSSES - {"total_loss"})
        assert line["total_loss"] == pytest.approx(parts)
    assert lines[-1]["loss_source_ce"] < 0.6 * lines[0]["loss_source_ce"]
    assert lines[-1]["loss_source_copt"] < lines[0]["loss_source_copt"]
    assert lines[-1]["loss_source_feature_distance"] > 0
    assert lines[-1]["loss_masked_ce"] > 0  # the teacher has become confident


def test_tensorboard_has_the_same_scalars_and_pictures(smoke):
    events = EventAccumulator(str(smoke), size_guidance={"scalars": 0, "images": 0}).Reload()
    scalars = events.Tags()["scalars"]
    logged = {name for line in metrics(smoke) for name in line} - {"iteration"}
    assert logged <= set(scalars)
    values = {line["iteration"]: line["loss_mixed_ce"] for line in metrics(smoke)[:-1]}
    shown = {event.step: event.value for event in events.Scalars("loss_mixed_ce")}
    assert shown == pytest.approx(values)
    assert set(events.Tags()["images"]) == {"source", "target_pseudo_labels"}
    assert [event.step for event in events.Images("source")] == [19, 39]


def test_evaluation_record_is_complete(smoke):
    record = json.loads((smoke / "evaluation" / "camvid_dusk_val.json").read_text())
    names = list(CAMVID.classes)
    assert record["dataset"] == "camvid_dusk_val"
    assert record["split"] == "val"
    assert record["checkpoint"] == str(smoke / "model_0000040.pth")
    assert Path(record["checkpoint"]).is_file()
    assert record["iteration"] == 40
    assert record["images"] == 20
    assert record["seed"] == 0
    assert record["class_names"] == names
    assert record["classes_in_mean"] == [c for c in names if c != "fence"]
    assert record["classes_left_out"] == ["fence"]
    assert set(record["IoU"]) == set(record["Acc"]) == set(names)
    assert record["IoU"]["fence"] is None  # neither drawn nor predicted
    counted = [record["IoU"][name] for name in record["classes_in_mean"]]
    assert record["mIoU"] == pytest.approx(sum(counted) / 10, abs=1e-3)
    assert 0 < record["aAcc"] <= 100
    assert record["commit"] == code_version()


def test_scores_stand_in_the_metrics_too(smoke):
    record = json.loads((smoke / "evaluation" / "camvid_dusk_val.json").read_text())
    last = metrics(smoke)[-1]
    assert last["iteration"] == 40
    assert last["camvid_dusk_val/mIoU"] == pytest.approx(record["mIoU"], abs=1e-4)
    assert f"camvid_dusk_val/IoU-{names(CAMVID_FENCE)}" not in last


def names(train_id):
    return CAMVID.classes[train_id]


def test_prediction_sheet_shows_images_predictions_and_truth(smoke):
    path = smoke / "evaluation" / "camvid_dusk_val.png"
    sheet = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    # three rows of three pictures 320 wide, 213 high, below a bar of titles, beside a legend
    assert sheet.shape[1] == 3 * 320 + 170
    assert sheet.shape[0] == 24 + 3 * 213
    truth = sheet[24:, 640:960].reshape(-1, 3)
    palette = {tuple(colour) for colour in CAMVID.palette} | {(0, 0, 0)}
    assert {tuple(colour) for colour in np.unique(truth, axis=0)} <= palette
    sky, road = CAMVID.palette[0], CAMVID.palette[3]
    assert (truth == sky).all(axis=1).mean() > 0.1
    assert (truth == road).all(axis=1).mean() > 0.1
    dusk = sheet[24:, :320]
    assert dusk[..., 2].mean() > dusk[..., 0].mean()  # the frames are bluish
    # where a person can look at it after the tests
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, SHEET)


def test_evaluating_the_checkpoint_gives_the_same_scores(smoke, tmp_path):
    weights = smoke / "model_final.pth"
    options = ["OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", str(weights), "TEST.PICTURES", "0"]
    in_process.train_net.run(["--config-file", str(SMOKE), "--eval-only", *options])
    for name in ("camvid_dusk_val", "camvid_day_val"):
        first = json.loads((smoke / "evaluation" / f"{name}.json").read_text())
        second = json.loads((tmp_path / "evaluation" / f"{name}.json").read_text())
        assert second.pop("checkpoint") == str(weights)
        assert first.pop("checkpoint") == str(smoke / "model_0000040.pth")
        assert second["weights"].pop("path") == str(weights)
        assert first["weights"].pop("path") == str(smoke / "model_0000040.pth")
        assert first == second
    assert not (tmp_path / "evaluation" / "camvid_dusk_val.png").exists()


def test_checkpoint_holds_student_teacher_and_memory(smoke):
    state = read_checkpoint(smoke / "model_final.pth")
    assert sorted(path.name for path in smoke.glob("*.pth")) == [
        *("model_0000020.pth", "model_0000040.pth", "model_final.pth")
    ]
    bank = state["model"]["feature_losses.copt.memory_bank"]
    assert bank.shape == (11, 320)
    assert bank.abs().sum() > 0
    student = state["model"]["student.sem_seg_head.conv_seg.weight"]
    teacher = state["model"]["teacher.network.sem_seg_head.conv_seg.weight"]
    assert not torch.equal(student, teacher)


def test_results_outside_the_bounds_end_in_one_line(error_line, smoke, tmp_path):
    bounds = [["camvid_day_val", "mIoU", 99.0, 0.5], ["camvid_day_val", "no such key", 1, 1]]
    line = error_line(tmp_path, TEST__EXPECTED_RESULTS=bounds, SOLVER__MAX_ITER=1)
    assert line.startswith("TEST.EXPECTED_RESULTS: camvid_day_val mIoU is ")
    assert "not 99.0 +- 0.5; camvid_day_val no such key is nan, not 1 +- 1" in line
