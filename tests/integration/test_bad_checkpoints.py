"""Losses and checkpoints that went wrong: one line, and the last good state stays."""

import pickle
from pathlib import Path

import pytest
import torch
import yaml

from copt_d2.data.label_spaces import CAMVID
from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.modeling.losses import FeatureDistanceLoss
from copt_d2.modeling.meta_arch import UDASegmentor

pytestmark = pytest.mark.integration


# losses


def test_nan_loss_keeps_the_last_good_checkpoint(error_line, output, monkeypatch):
    calls = []

    def nan(self, *_args):
        calls.append(None)
        return torch.tensor(float("nan" if len(calls) == 4 else 0), requires_grad=True)

    monkeypatch.setattr(FeatureDistanceLoss, "on_output", nan)
    line = error_line(output, "--resume")
    assert line.startswith("iteration 7: loss_source_feature_distance in phase source is NaN")
    assert f"the last good checkpoint is {output}/model_0000006.pth" in line
    assert read_checkpoint(output / "model_0000006.pth")["iteration"] == 6


def test_infinite_loss_of_a_later_phase_before_any_checkpoint(error_line, monkeypatch, tmp_path):
    masked = UDASegmentor.masked_losses

    def infinite(self, *args):
        return {name: loss + float("inf") for name, loss in masked(self, *args).items()}

    monkeypatch.setattr(UDASegmentor, "masked_losses", infinite)
    line = error_line(tmp_path)
    assert line.startswith("iteration 0: loss_masked_ce in phase masked is NaN or infinite")
    assert "there is no checkpoint yet" in line


def test_nan_weights_replace_no_checkpoint(error_line, output, monkeypatch):
    """The gradient of a square root at 0: the loss of the step is finite."""

    def steep(self, seg_output, *_args):
        return (seg_output.logits - seg_output.logits.detach()).sum().abs().sqrt()

    monkeypatch.setattr(FeatureDistanceLoss, "on_output", steep)
    line = error_line(output, "--resume", SOLVER__MAX_ITER=5)
    assert line.startswith("iteration 4: student.")
    assert f"the last good checkpoint is {output}/model_0000004.pth" in line
    assert not (output / "model_0000005.pth").exists()


# checkpoints


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_resume_without_a_checkpoint_starts_anew_and_says_so(train, capsys, tmp_path):
    train(tmp_path, "--resume", SOLVER__MAX_ITER=1)
    assert f"--resume: no checkpoint in {tmp_path}, starting anew" in capsys.readouterr().out
    assert (tmp_path / "model_0000001.pth").is_file()


def test_truncated_checkpoint_falls_back_and_says_so(train, capsys, output):
    cut(output / "model_0000004.pth")
    train(output, "--resume", SOLVER__MAX_ITER=5)
    said = capsys.readouterr().out
    assert f"checkpoint {output}/model_0000004.pth cannot be read" in said
    assert "falling back to the one before it" in said
    assert f"resuming from {output}/model_0000003.pth" in said
    assert read_checkpoint(output / "model_final.pth")["iteration"] == 5


def test_all_checkpoints_damaged(error_line, train, output):
    for path in output.glob("model_0*"):
        cut(path)
    line = error_line(output, "--resume")
    assert line.startswith(f"--resume: none of the 2 checkpoints in {output} can be read")
    train(output, SOLVER__MAX_ITER=1)  # what the line advises
    assert len(list((output / "previous_1").glob("model_0*"))) == 2


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_object_is_refused_not_executed(error_line, train, capsys, output, tmp_path):
    trace = tmp_path / "trace"
    state = torch.load(output / "model_0000004.pth", weights_only=True)
    torch.save({**state, "trap": Trap(trace)}, output / "model_0000004.pth")
    train(output, "--resume", SOLVER__MAX_ITER=4)
    said = capsys.readouterr().out
    assert "holds Python objects, which are never executed" in said
    assert f"resuming from {output}/model_0000003.pth" in said
    assert not trace.exists()
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(trace)))
    torch.save({"model": Trap(trace)}, tmp_path / "zip.pth")
    for name in ("bare.pth", "zip.pth"):
        line = error_line(tmp_path / "out", "--eval-only", MODEL__WEIGHTS=tmp_path / name)
        assert line.startswith(f"checkpoint {tmp_path / name} ")
        assert not trace.exists()


def test_zip_without_the_parts_of_a_checkpoint(train, capsys, output):
    torch.save({"model": {}}, output / "model_0000004.pth")
    train(output, "--resume", SOLVER__MAX_ITER=4)
    said = capsys.readouterr().out
    assert "model_0000004.pth lacks optimizer, scheduler, data, iteration" in said


def test_weights_of_another_class_count(error_line, four_steps, tmp_path):
    weights = torch.load(four_steps / "model_final.pth", weights_only=True)["model"]
    key = "student.sem_seg_head.conv_seg.weight"
    weights[key] = weights[key][:7]
    torch.save({"model": weights}, tmp_path / "seven.pth")
    for flags in ((), ("--eval-only",)):
        line = error_line(tmp_path / "out", *flags, MODEL__WEIGHTS=tmp_path / "seven.pth")
        assert line.startswith(f"MODEL.WEIGHTS {tmp_path}/seven.pth is of another architecture")
        assert "sem_seg_head.conv_seg.weight is (7, 8, 1, 1) there and (11, 8, 1, 1) here" in line


def test_a_checkpoint_of_other_classes_or_a_later_format(error_line, output, tmp_path):
    path = output / "model_0000004.pth"
    state = read_checkpoint(path)
    assert state["format"] == 2
    assert state["classes"] == list(CAMVID.classes)
    ways = {
        ("--resume",): {},
        ("--eval-only",): {"MODEL__WEIGHTS": path},
        (): {"MODEL__WEIGHTS": path},
    }
    for flags, changes in ways.items():
        folder = tmp_path / "out" if changes else output
        torch.save({**state, "classes": state["classes"][::-1]}, path)
        line = error_line(folder, *flags, **changes)
        assert "have the same classes in another order: class 0 is 'sky' in the first and " in line
        torch.save({**state, "format": 3}, path)
        line = error_line(folder, *flags, **changes)
        assert line.startswith(f"checkpoint {path} has the format 3, this version of copt_d2 reads")


def test_a_checkpoint_without_names_is_noted(train, capsys, output, tmp_path):
    path = output / "model_0000004.pth"
    state = read_checkpoint(path)
    torch.save({key: state[key] for key in state.keys() - {"format", "classes"}}, path)
    train(output, "--resume", SOLVER__MAX_ITER=4)
    assert (
        f"{output} holds no class names: only their number is compared" in capsys.readouterr().out
    )


def test_resume_with_another_network_or_data_order(error_line, output):
    line = error_line(output, "--resume", MODEL__SEM_SEG_HEAD__CONVS_DIM=16)
    assert line.startswith(f"--resume: what is in {output} does not fit the config")
    line = error_line(output, "--resume", SOLVER__IMS_PER_BATCH=1)
    assert "set SEED, SOLVER.IMS_PER_BATCH and DATASETS back" in line
    line = error_line(output, "--resume", SOLVER__MAX_ITER=2)
    assert "has 4 iterations already, more than SOLVER.MAX_ITER 2" in line


def test_a_refused_resume_leaves_the_folder_alone(error_line, train, tmp_path):
    output = tmp_path / "run"
    train(output, SEED=-1, SOLVER__MAX_ITER=3)
    before = (output / "config.yaml").read_text()
    error_line(output, "--resume", SEED=5)
    assert (output / "config.yaml").read_text() == before
    train(output, "--resume", SEED=-1, SOLVER__MAX_ITER=4)
    seed = yaml.safe_load(before)["SEED"]
    assert read_checkpoint(output / "model_final.pth")["data"]["seed"] == seed


def test_a_changed_config_is_listed_and_counts(train, capsys, output):
    changes = {"SOLVER__BASE_LR": 3e-5, "SOLVER__WEIGHT_DECAY": 0.5, "SOLVER__MAX_ITER": 5}
    train(output, "--resume", SOLVER__LOG_PERIOD=1, **changes)
    said = capsys.readouterr().out
    assert "SOLVER.BASE_LR 0.001 -> 3e-05" in said
    assert "SOLVER.WEIGHT_DECAY 0.01 -> 0.5" in said
    assert "SOLVER.LOG_PERIOD" not in said.partition("the config has changed")[2].splitlines()[0]
    head, rest = read_checkpoint(output / "model_final.pth")["optimizer"]["param_groups"]
    assert head["initial_lr"] == pytest.approx(3e-4)
    assert rest["initial_lr"] == pytest.approx(3e-5)
    assert rest["weight_decay"] == 0.5


def test_an_unchanged_config_says_nothing(train, capsys, output):
    train(output, "--resume", SOLVER__MAX_ITER=4, TEST__PICTURES=1)
    assert "the config has changed" not in capsys.readouterr().out


def test_evaluation_without_weights(error_line, tmp_path):
    assert error_line(tmp_path, "--eval-only").startswith("--eval-only needs MODEL.WEIGHTS FILE")
    line = error_line(tmp_path, "--eval-only", MODEL__WEIGHTS="no/such.pth")
    assert line == "no such checkpoint: no/such.pth"


def test_a_second_run_does_not_mix_with_the_first(train, capsys, output):
    first = (output / "metrics.json").read_text()
    train(output, SOLVER__MAX_ITER=1)
    assert f"{output} held an earlier run; moved to {output}/previous_1" in capsys.readouterr().out
    assert (output / "previous_1" / "metrics.json").read_text() == first
    assert [path.name for path in output.glob("model_0*")] == ["model_0000001.pth"]
    assert "MAX_ITER: 4" in (output / "previous_1" / "config.yaml").read_text()
    assert "MAX_ITER: 1" in (output / "config.yaml").read_text()


def test_a_run_can_start_from_weights_in_its_own_folder(train, output):
    (output / "previous_2").mkdir()  # the first was deleted
    train(output, SOLVER__MAX_ITER=1, MODEL__WEIGHTS=output / "model_final.pth")
    assert (output / "previous_3" / "model_final.pth").is_file()
    assert (output / "model_0000001.pth").is_file()


def test_nan_weights_are_refused_by_name(error_line, train, output, capsys, tmp_path):
    """In evaluation, initialisation and resume; the student's and the teacher's."""
    path = output / "model_0000004.pth"
    state = torch.load(path, weights_only=True)
    for part, key in (("student", "student."), ("teacher", "teacher.network.")):
        broken = dict(state["model"])
        key += "sem_seg_head.conv_seg.bias"
        broken[key] = torch.full_like(broken[key], float("nan"))
        torch.save({**state, "model": broken}, path)
        options = {"MODEL__WEIGHTS": path, "MODEL__WEIGHTS_PART": part}
        for flags in ((), ("--eval-only",)):
            line = error_line(tmp_path / "out", *flags, **options)
            assert line == f"MODEL.WEIGHTS {path}: {key} holds NaN or infinity"
        # the other part is whole
        options["MODEL__WEIGHTS_PART"] = {"student": "teacher", "teacher": "student"}[part]
        train(tmp_path / part, "--eval-only", **options)
    capsys.readouterr()
    train(output, "--resume", SOLVER__MAX_ITER=4)
    said = capsys.readouterr().out
    assert f"checkpoint {path} is none of a run: model {key} holds NaN or infinity" in said
    assert f"resuming from {output}/model_0000003.pth" in said


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_a_run_can_start_from_either_network(train, four_steps, tmp_path, part):
    """A run of no step: the learning rate is 0."""
    prefix = {"student": "student.", "teacher": "teacher.network."}[part]
    options = {"MODEL__WEIGHTS": four_steps / "model_final.pth", "MODEL__WEIGHTS_PART": part}
    train(tmp_path, SOLVER__MAX_ITER=1, SOLVER__BASE_LR=0.0, **options)
    wanted = torch.load(four_steps / "model_final.pth", weights_only=True)["model"]
    found = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    name = "sem_seg_head.conv_seg.weight"
    assert not torch.equal(wanted[f"student.{name}"], wanted[f"teacher.network.{name}"])
    for key in ("student.", "teacher.network."):
        assert torch.equal(found[key + name], wanted[prefix + name])


def test_moments_of_other_parameters(error_line, output):
    state = torch.load(output / "model_0000004.pth", weights_only=True)
    moments = state["optimizer"]["state"][0]
    moments["exp_avg"] = moments["exp_avg"][..., :1]
    torch.save(state, output / "model_0000004.pth")
    line = error_line(output, "--resume")
    assert line.startswith(f"--resume: what is in {output} does not fit the config: a parameter of")
