"""A run that is interrupted and resumed ends as one that never was, bit for bit."""

import random
import signal
import sys
import time
from pathlib import Path

import in_process
import pytest
import torch
import yaml
from command_line import EVALUATED
from comparing import assert_same_run, differences, final_network, final_state, metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import conv2d
from waiting import wait_for_lines

from copt_d2.engine import UDATrainer
from copt_d2.modeling import EncoderDecoder

# copt_d2.engine.evaluate is a function there, too
evaluate = sys.modules["copt_d2.engine.evaluate"]

pytestmark = pytest.mark.integration

LOSSES = ("source_ce", "source_feature_distance", "source_copt", "mixed_ce")


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
            train(output, *flags, **EVALUATED, **changes)
    assert ended.value.code == 130


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
    train(tmp_path, "--resume", **EVALUATED)
    assert_same_run(tmp_path, uninterrupted)


def test_several_interruptions_and_workers(uninterrupted, train, monkeypatch, tmp_path):
    train_and_interrupt(train, monkeypatch, tmp_path, 2, DATALOADER__NUM_WORKERS=1)
    train_and_interrupt(train, monkeypatch, tmp_path, 5, "--resume", DATALOADER__NUM_WORKERS=1)
    train_and_interrupt(train, monkeypatch, tmp_path, 5, "--resume")
    train(tmp_path, "--resume", DATALOADER__NUM_WORKERS=2, **EVALUATED)
    assert_same_run(tmp_path, uninterrupted)


TWO_SETS = {"DATASETS__TEST": "('camvid_day_val', 'camvid_dusk_val')"}
PRECISE = {"TEST__PRECISE_BN__ENABLED": True, "TEST__PRECISE_BN__NUM_ITER": 2}


@pytest.mark.parametrize(
    ("call", "options"),
    [(0, {}), (1, {}), (1, TWO_SETS), (2, TWO_SETS | PRECISE), (3, TWO_SETS | PRECISE)],
    ids=["in training", "at the end", "between two sets", "precise", "precise, between two sets"],
)
def test_interrupted_evaluation(uninterrupted, train, monkeypatch, tmp_path, call, options):
    """Nothing is lost: neither the scores nor the line of their step, and nothing is double."""
    calls = []
    evaluate_dataset = evaluate.evaluate_dataset

    def interrupted(*args):
        calls.append(None)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return evaluate_dataset(*args)

    whole = uninterrupted
    if options:
        whole = tmp_path / "whole"
        train(whole, **EVALUATED, **options)
    output = tmp_path / "run"
    for _ in range(1 if call else 2):  # the second time after a resume, in the same place
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "evaluate_dataset", interrupted)
            with pytest.raises(SystemExit) as ended:
                train(output, "--resume", **EVALUATED, **options)
        assert ended.value.code == 130
    train(output, "--resume", **EVALUATED, **options)
    assert_same_run(output, whole)
    assert "camvid_day_val/mIoU" in metrics(output)[-1]


def test_evaluation_that_is_no_longer_wanted(train, monkeypatch, tmp_path):
    """The line of its step is not lost with it."""

    def interrupted(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_dataset", interrupted)
        with pytest.raises(SystemExit):
            train(tmp_path, TEST__EVAL_PERIOD=4)
    train(tmp_path, "--resume", TEST__EVAL_PERIOD=0, SOLVER__MAX_ITER=5)
    lines = {line["iteration"]: line for line in metrics(tmp_path)}
    assert list(lines) == [1, 3, 4, 5]
    assert lines[3]["loss_source_ce"] > 0
    assert "camvid_day_val/mIoU" not in lines[3]


def test_resume_with_other_phases_and_losses(train, monkeypatch, tmp_path):
    """The line of step 6 has the means of steps 5 and 6, which have other phases."""
    train_and_interrupt(train, monkeypatch, tmp_path, 5, SOLVER__CHECKPOINT_PERIOD=5)
    train(tmp_path, "--resume", MODEL__UDA__PHASES="('source', 'mixed')", **EVALUATED)
    line, last = (metrics(tmp_path)[n] for n in (3, 4))
    assert line["iteration"] == 5
    assert {"loss_source_ce", "loss_mixed_ce", "loss_masked_ce"} <= set(line)
    losses = [line[f"loss_{name}"] for name in LOSSES]
    assert line["total_loss"] == pytest.approx(sum(losses))
    assert "loss_masked_ce" not in last


def test_resuming_a_finished_run_only_evaluates(uninterrupted, train, tmp_path):
    train(tmp_path, **EVALUATED)
    before = final_state(tmp_path)
    network = (tmp_path / "model_final.safetensors").read_bytes()
    for name in ("model_final.pth", "model_final.safetensors"):
        (tmp_path / name).unlink()
    train(tmp_path, "--resume", **EVALUATED)
    assert differences(final_state(tmp_path), before) == []
    assert (tmp_path / "model_final.safetensors").read_bytes() == network
    assert metrics(tmp_path) == metrics(uninterrupted)


def test_tensorboard_shows_no_step_twice(train, monkeypatch, tmp_path):
    train_and_interrupt(train, monkeypatch, tmp_path, 5, SOLVER__LOG_PERIOD=1)
    train(tmp_path, "--resume", SOLVER__LOG_PERIOD=1, **EVALUATED)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss_mixed_ce")] == list(range(8))


def test_pictures_and_evaluations_change_nothing(uninterrupted, train, tmp_path):
    train(tmp_path, SOLVER__IMAGE_PERIOD=0, TEST__EVAL_PERIOD=0)
    assert differences(final_state(tmp_path), final_state(uninterrupted)) == []


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


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("SEED: 7\n")])
def test_random_seed_is_found_again(train, monkeypatch, tmp_path, damage):
    """In the checkpoint: what else lies in the folder may have been edited."""
    train_and_interrupt(train, monkeypatch, tmp_path, 4, SEED=-1)
    damage(tmp_path / "config.yaml")
    train(tmp_path, "--resume", SEED=-1, **EVALUATED)
    assert final_state(tmp_path)["iteration"] == 8
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["SEED"] == final_state(tmp_path)["data"]["seed"]


@pytest.mark.slow
def test_killed_at_random_moments(start, arguments, train, tmp_path):
    """SIGKILL three times in one run of 24 steps that writes a checkpoint after every second."""
    options = {
        **{"SOLVER__MAX_ITER": 24, "SOLVER__CHECKPOINT_PERIOD": 2, "SOLVER__LOG_PERIOD": 1},
        "DATALOADER__NUM_WORKERS": 1,
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(whole, **options)
    draw = random.Random(5)
    for first in (2, 9, 16):
        argv = arguments(killed, "--resume", **options)
        process = start(in_process.run, argv, tmp_path / "said")
        wait_for_lines(process, killed, first + draw.randrange(3))
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    train(killed, "--resume", **options)
    assert_same_run(killed, whole)
    assert [line["iteration"] for line in metrics(killed)] == [*range(24), 24]
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
    assert differences(final_state(output), final_state(uninterrupted)) == []
    assert sorted(path.name for path in output.glob("model_*")) == [
        *("model_0000006.pth", "model_0000008.pth", "model_final.pth"),
        "model_final.safetensors",
    ]
    assert differences(final_network(output), final_network(uninterrupted)) == []
