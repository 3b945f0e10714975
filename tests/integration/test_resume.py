"""A run that is interrupted and resumed ends as one that never was, bit for bit."""

import json
import os
import random
import signal
import time
from pathlib import Path

import in_process
import pytest
import torch
from comparing import differences, final_state, metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import conv2d

from copt_d2.engine import UDATrainer
from copt_d2.engine import trainer as trainer_module
from copt_d2.modeling import EncoderDecoder

pytestmark = pytest.mark.integration

# checkpoints after 3, 6 and 8 steps, pictures after 3 and 6, evaluations after 5 and 8
OPTIONS = {"TEST__EVAL_PERIOD": 5}


@pytest.fixture(scope="module")
def uninterrupted(arguments, camvid, cache, tmp_path_factory):
    """Output folder of a run of 8 steps."""
    output = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(arguments(output, **OPTIONS))
    return output


def interrupt_at(patch, iteration):
    """Ctrl-C arrives before the step ``iteration`` is done."""
    step = UDATrainer.run_step

    def run_step(self):
        if self.iter == iteration:
            raise KeyboardInterrupt
        step(self)

    patch.setattr(UDATrainer, "run_step", run_step)


def train_and_interrupt(train, patch, output, iteration, *flags, **changes):
    with patch.context() as inner:
        interrupt_at(inner, iteration)
        with pytest.raises(SystemExit) as ended:
            train(output, *flags, **OPTIONS, **changes)
    assert ended.value.code == 130


def assert_same_end(output, uninterrupted):
    assert differences(final_state(output), final_state(uninterrupted)) == []


def test_the_run_does_something(uninterrupted):
    state = final_state(uninterrupted)
    assert state["iteration"] == 8
    assert state["model"]["feature_losses.copt.memory_bank"].abs().sum() > 0
    assert len(state["optimizer"]["state"]) > 20
    lines = metrics(uninterrupted)
    assert [line["iteration"] for line in lines] == [1, 3, 4, 5, 7, 8]
    assert [n for n in range(6) if lines[n].get("pseudo_label_weight", 0) > 0] == [0, 1, 3, 4]
    assert [n for n in range(6) if "camvid_day_val/mIoU" in lines[n]] == [2, 5]


# after 3 steps there is a checkpoint (and an unlogged step), 4 and 7 lie between two
@pytest.mark.parametrize("iteration", [3, 4, 7])
def test_interrupted_equals_uninterrupted(uninterrupted, train, monkeypatch, tmp_path, iteration):
    train_and_interrupt(train, monkeypatch, tmp_path, iteration)
    train(tmp_path, "--resume", **OPTIONS)
    assert_same_end(tmp_path, uninterrupted)
    assert metrics(tmp_path) == metrics(uninterrupted)
    record = json.loads((tmp_path / "evaluation" / "camvid_day_val.json").read_text())
    expected = json.loads((uninterrupted / "evaluation" / "camvid_day_val.json").read_text())
    assert record["IoU"] == expected["IoU"]


def test_several_interruptions_and_workers(uninterrupted, train, monkeypatch, tmp_path):
    train_and_interrupt(train, monkeypatch, tmp_path, 2, DATALOADER__NUM_WORKERS=1)
    train_and_interrupt(train, monkeypatch, tmp_path, 5, "--resume", DATALOADER__NUM_WORKERS=1)
    train_and_interrupt(train, monkeypatch, tmp_path, 5, "--resume")
    train(tmp_path, "--resume", DATALOADER__NUM_WORKERS=2, **OPTIONS)
    assert_same_end(tmp_path, uninterrupted)
    assert metrics(tmp_path) == metrics(uninterrupted)


@pytest.mark.parametrize("when", ["during training", "at the end"])
def test_interrupted_evaluation(uninterrupted, train, monkeypatch, tmp_path, when):
    """The weights stay equal; a line of the metrics that was due may be missing, none is double."""
    evaluate = trainer_module.evaluate

    def interrupted(cfg, model, iteration, checkpoint):
        if (iteration < 8) == (when == "during training"):
            raise KeyboardInterrupt
        return evaluate(cfg, model, iteration, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "evaluate", interrupted)
        with pytest.raises(SystemExit):
            train(tmp_path, **OPTIONS)
    train(tmp_path, "--resume", **OPTIONS)
    assert_same_end(tmp_path, uninterrupted)
    assert all(line in metrics(uninterrupted) for line in metrics(tmp_path))
    assert "camvid_day_val/mIoU" in metrics(tmp_path)[-1]


def test_resuming_a_finished_run_only_evaluates(uninterrupted, train, tmp_path):
    train(tmp_path, **OPTIONS)
    before = final_state(tmp_path)
    (tmp_path / "model_final.pth").unlink()
    train(tmp_path, "--resume", **OPTIONS)
    assert differences(final_state(tmp_path), before) == []
    assert metrics(tmp_path) == metrics(uninterrupted)


def test_tensorboard_shows_no_step_twice(train, monkeypatch, tmp_path):
    train_and_interrupt(train, monkeypatch, tmp_path, 5, SOLVER__LOG_PERIOD=1)
    train(tmp_path, "--resume", SOLVER__LOG_PERIOD=1, **OPTIONS)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss_mixed_ce")] == list(range(8))


def test_pictures_and_evaluations_change_nothing(uninterrupted, train, tmp_path):
    train(tmp_path, SOLVER__IMAGE_PERIOD=0, TEST__EVAL_PERIOD=0)
    assert_same_end(tmp_path, uninterrupted)


def test_precise_statistics_are_those_of_clean_target_images(train, monkeypatch, tmp_path):
    options = {"SOLVER__MAX_ITER": 5, "TEST__PRECISE_BN__ENABLED": True}
    options |= {"TEST__PRECISE_BN__NUM_ITER": 3, "SOLVER__CHECKPOINT_PERIOD": 4}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    seen = []
    forward = EncoderDecoder.forward

    def look(self, images, crop_box=None):
        output = forward(self, images, crop_box)
        seen.append((images, output.features["res2"]))
        return output

    with monkeypatch.context() as patch:
        patch.setattr(EncoderDecoder, "forward", look)
        train(whole, **options, DATASETS__TEST="()")
    state = final_state(whole)["model"]
    # the last three passes; the first norm of the encoder sees the convolution of the images
    weight = state["student.backbone.encoder.conv_stem.weight"]
    assert {len(images) for images, _ in seen[-3:]} == {2}
    assert all((images == 0).float().mean() < 0.01 for images, _ in seen[-3:])  # not masked
    means, variances = [], []
    for images, _ in seen[-3:]:
        stem = conv2d(images, weight, stride=2, padding=1)
        means.append(stem.mean(dim=(0, 2, 3)))
        variances.append(stem.var(dim=(0, 2, 3)))
    name = "student.backbone.encoder.bn1.running"
    torch.testing.assert_close(state[f"{name}_mean"], torch.stack(means).mean(dim=0))
    torch.testing.assert_close(state[f"{name}_var"], torch.stack(variances).mean(dim=0))

    options["DATASETS__TEST"] = "()"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(SystemExit):
            train(resumed, **options)
    train(resumed, "--resume", **options)
    assert differences(final_state(resumed), final_state(whole)) == []


def test_random_seed_is_found_again(train, monkeypatch, tmp_path):
    train_and_interrupt(train, monkeypatch, tmp_path, 4, SEED=-1)
    train(tmp_path, "--resume", SEED=-1, **OPTIONS)
    assert final_state(tmp_path)["iteration"] == 8


def wait_for_lines(process, output, lines):
    """Waits until a run has logged as many iterations."""
    file = Path(output) / "metrics.json"
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < lines:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_at_random_moments(start, arguments, train, tmp_path):
    """SIGKILL five times in one run of 24 steps that writes a checkpoint after every second."""
    options = {
        **{"SOLVER__MAX_ITER": 24, "SOLVER__CHECKPOINT_PERIOD": 2, "SOLVER__LOG_PERIOD": 1},
        "DATALOADER__NUM_WORKERS": 1,
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(whole, **options)
    draw = random.Random(5)
    for first in (2, 6, 10, 14, 18):
        argv = arguments(killed, "--resume", **options)
        process = start(in_process.run, argv, tmp_path / "said")
        wait_for_lines(process, killed, first + draw.randrange(3))
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    train(killed, "--resume", **options)
    assert_same_end(killed, whole)
    assert [line["iteration"] for line in metrics(killed)] == [*range(24), 24]
    assert metrics(killed) == metrics(whole)
    assert not list(killed.glob("*.tmp"))


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (in_process.run_and_die_half_written, "model_0000006.pth.tmp"),
        (in_process.run_and_die_before_the_old_one_goes, "model_0000006.pth"),
    ],
)
def test_killed_while_a_checkpoint_is_written(
    uninterrupted, start, arguments, train, tmp_path, target, left
):
    output = tmp_path / "run"
    argv = arguments(output, SOLVER__CHECKPOINT_PERIOD=2)
    process = start(target, argv, tmp_path / "said")
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    files = sorted(path.name for path in output.glob("model_*"))
    assert files == ["model_0000002.pth", "model_0000004.pth", left]
    train(output, "--resume", SOLVER__CHECKPOINT_PERIOD=2)
    assert_same_end(output, uninterrupted)
    assert sorted(path.name for path in output.glob("model_*")) == [
        *("model_0000006.pth", "model_0000008.pth", "model_final.pth")
    ]


def fields(pid):
    """State and parent of a process; "gone" for one that is gone or waits to be collected."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "gone", None
    return ("gone" if state == "Z" else state), int(parent)


def children_of(pid):
    numbers = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [number for number in numbers if fields(number)[1] == pid]


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "as a terminal does"])
def test_ctrl_c_ends_politely(start, arguments, tmp_path, send):
    options = {"SOLVER__MAX_ITER": 1000, "SOLVER__LOG_PERIOD": 1, "DATALOADER__NUM_WORKERS": 1}
    output = tmp_path / "run"
    process = start(in_process.run, arguments(output, **options), tmp_path / "said")
    wait_for_lines(process, output, 4)
    children = children_of(process.pid)
    assert children
    send(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    said = Path(f"{tmp_path}/said.stderr").read_text().splitlines()
    assert said == ["interrupted: a training goes on with --resume"]
    deadline = time.monotonic() + 15
    while any(fields(pid)[0] != "gone" for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (output / "model_0000003.pth").is_file()
