"""What a user can mend ends in one line on standard error and status 1, never in a traceback."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
import torch
from command_line import SCRIPT
from PIL import Image

from copt_d2.engine import UDATrainer
from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.modeling.losses import FeatureDistanceLoss
from copt_d2.modeling.meta_arch import UDASegmentor

pytestmark = pytest.mark.integration


@pytest.fixture
def own_data(camvid, tmp_path, monkeypatch):
    """A copy of the data that a test may damage."""
    shutil.copytree(camvid, tmp_path / "sets")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    return tmp_path / "sets" / "camvid"


@pytest.fixture(scope="module")
def four_steps(arguments, camvid, cache, tmp_path_factory):
    """Output folder of a run of four steps, checkpoints after 3 and 4; not to be changed."""
    output = tmp_path_factory.mktemp("four_steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(arguments(output, SOLVER__MAX_ITER=4))
    return output


@pytest.fixture
def output(four_steps, tmp_path):
    """A copy of that run that a test may damage."""
    shutil.copytree(four_steps, tmp_path / "run")
    return tmp_path / "run"


# data


def test_missing_folder(error_line, own_data, tmp_path):
    own_data.rename(own_data.parent / "elsewhere")
    line = error_line(tmp_path / "out")
    assert f"folder {own_data}/train does not exist" in line
    assert "DETECTRON2_DATASETS" in line


def test_no_images(error_line, own_data, tmp_path):
    for path in (own_data / "val").iterdir():
        path.unlink()
    assert f"folder {own_data}/val holds no image" in error_line(tmp_path / "out")


def test_no_label_file(error_line, own_data, tmp_path):
    (own_data / "trainannot" / "0006R0_f00001.png").unlink()
    line = error_line(tmp_path / "out")
    assert "0006R0_f00001.png has no label file" in line


def test_label_of_another_size_in_training(error_line, own_data, tmp_path):
    for path in (own_data / "trainannot").glob("00*"):
        Image.open(path).resize((95, 64), Image.Resampling.NEAREST).save(path)
    line = error_line(tmp_path / "out")
    assert "is 96x64 but its label file" in line
    assert "is 95x64" in line


def test_label_of_another_size_in_evaluation(error_line, own_data, four_steps, tmp_path):
    path = own_data / "valannot" / "0016E5_00001.png"
    Image.open(path).resize((96, 60), Image.Resampling.NEAREST).save(path)
    weights = four_steps / "model_final.pth"
    line = error_line(tmp_path / "out", "--eval-only", MODEL__WEIGHTS=weights)
    assert f"label {path} is 96x60 pixels, its image" in line
    assert "96x64" in line


@pytest.mark.parametrize("workers", [0, 1])
def test_undecodable_image(own_data, start, arguments, tmp_path, workers):
    """In a process of its own, so that a hang of the loader fails here and nowhere else."""
    for path in (own_data / "train").glob("0001TP*"):
        path.write_bytes(path.read_bytes()[:300])
    argv = arguments(tmp_path / "out", DATALOADER__NUM_WORKERS=workers)
    process = start(in_process.run, argv, tmp_path / "said")
    process.join(100)
    assert process.exitcode == 1
    lines = (tmp_path / "said.stderr").read_text().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"error: image {own_data}/train/0001TP_")
    assert "cannot be decoded" in lines[0]


def test_unlabelled_source_and_test_set(error_line, tmp_path):
    line = error_line(tmp_path, DATASETS__TRAIN="('camvid_dusk_train',)")
    assert line == "DATASETS.TRAIN: 'camvid_dusk_train' has no labels, which are needed there"
    line = error_line(tmp_path, DATASETS__TEST="('camvid_dusk_train',)")
    assert line == "DATASETS.TEST: 'camvid_dusk_train' has no labels, which are needed there"


# names


def test_unknown_data_set(error_line, tmp_path):
    line = error_line(tmp_path, DATASETS__TARGET="('camvid_dawn',)")
    assert "DATASETS.TARGET: 'camvid_dawn'" in line
    assert "camvid_dusk_train" in line


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"MODEL__TIMM__NAME": "resnet5"}, ("MODEL.TIMM.NAME 'resnet5'", "near: resnet50")),
        ({"MODEL__BACKBONE__NAME": "nobody"}, ("MODEL.BACKBONE.NAME 'nobody'", "timm_backbone")),
        ({"MODEL__SEM_SEG_HEAD__NAME": "Foot"}, ("MODEL.SEM_SEG_HEAD.NAME 'Foot'", "DAFormerHead")),
        ({"MODEL__META_ARCHITECTURE": "Nope"}, ("MODEL.META_ARCHITECTURE 'Nope'", "UDASegmentor")),
        ({"MODEL__UDA__FEATURE_LOSSES": "('Hinge',)"}, ("MODEL.UDA.FEATURE_LOSSES", "CoPTLoss")),
        ({"MODEL__UDA__PHASES": "('sauce',)"}, ("MODEL.UDA.PHASES", "sauce", "mixed")),
        ({"MODEL__COPT__METRIC": "l7"}, ("MODEL.COPT.METRIC", "cosine")),
        ({"MODEL__COPT__TEXT_BANK": "no.bank"}, ("MODEL.COPT.TEXT_BANK", "no.bank")),
        ({"MODEL__DEVICE": "tpux"}, ("MODEL.DEVICE 'tpux'",)),
        ({"DATASETS__TARGET": "()"}, ("MODEL.UDA.PHASES", "DATASETS.TARGET")),
        ({"DATASETS__TRAIN": "()"}, ("DATASETS.TRAIN is empty",)),
        ({"MODEL__SEM_SEG_HEAD__NUM_CLASSES": 19}, ("NUM_CLASSES is 19", "11 classes")),
        ({"SOLVER__MAX_ITER": 0}, ("SOLVER.MAX_ITER is 0; it must be 1 or more",)),
        ({"MODEL__UDA__MASK_RATIO": 1.5}, ("MODEL.UDA.MASK_RATIO is 1.5", "between 0 and 1")),
        ({"MODEL__UDA__MASK_BLOCK_SIZE": 128}, ("MASK_BLOCK_SIZE is 128", "INPUT.CROP.SIZE")),
        ({"INPUT__CROP__SIZE": "[0, 64]"}, ("INPUT.CROP.SIZE",)),
        ({"SOLVER__IMS_PER_BATCH": 0}, ("SOLVER.IMS_PER_BATCH is 0",)),
    ],
)
def test_wrong_values(error_line, tmp_path, changes, parts):
    line = error_line(tmp_path, **changes)
    assert all(part in line for part in parts), line


def test_odd_number_of_overrides(capsys, arguments, tmp_path):
    with pytest.raises(SystemExit) as ended:
        in_process.train_net.run([*arguments(tmp_path), "SEED"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: overrides are KEY VALUE pairs, 'SEED' has no value\n"
    )


def test_missing_config_file_on_the_command_line(tmp_path):
    """The script itself, without this process's preparations."""
    command = [sys.executable, str(SCRIPT), "--config-file", "nope.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: no such config file: nope.yaml\n"


def test_unsafe_yaml_tag_is_not_executed(error_line, tmp_path):
    config, trace = tmp_path / "unsafe.yaml", tmp_path / "trace"
    config.write_text(f"SEED: !!python/object/apply:os.system ['touch {trace}']\n")
    line = error_line(tmp_path / "out", config=config)
    assert line.startswith(f"{config}: ")
    assert "python/object/apply:os.system" in line
    assert not trace.exists()


# output


def test_output_folder_is_a_file(error_line, tmp_path):
    (tmp_path / "file").write_text("")
    assert error_line(tmp_path / "file").startswith(f"OUTPUT_DIR {tmp_path}/file cannot be written")
    assert error_line(tmp_path / "file" / "below").startswith("OUTPUT_DIR")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_no_space_for_a_checkpoint(error_line, output, monkeypatch, call):
    """The disk is full when the checkpoint after step 6 is written; those before stay whole."""
    original = getattr(os, call)

    def full(*args):
        if (output / "model_0000006.pth.tmp").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*args)

    monkeypatch.setattr(os, call, full)
    line = error_line(output, "--resume")
    assert line.startswith(f"checkpoint {output}/model_0000006.pth cannot be written")
    assert "No space left on device" in line
    assert "--resume" in line
    assert sorted(path.name for path in output.glob("model_0*")) == [
        *("model_0000003.pth", "model_0000004.pth")
    ]
    assert read_checkpoint(output / "model_0000004.pth")["iteration"] == 4


def test_no_space_really(start, arguments, output, tmp_path):
    """Files cannot grow beyond half a checkpoint."""
    size = (output / "model_0000004.pth").stat().st_size // 2
    process = start(
        in_process.run_on_a_full_disk, arguments(output, "--resume"), tmp_path / "said", size
    )
    process.join(100)
    assert process.exitcode == 1
    lines = (tmp_path / "said.stderr").read_text().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"error: checkpoint {output}/model_0000006.pth cannot be written")
    assert not (output / "model_0000006.pth.tmp").exists()
    assert read_checkpoint(output / "model_0000004.pth")["iteration"] == 4
    assert read_checkpoint(output / "model_0000003.pth")["iteration"] == 3


def test_no_space_for_anything_else(error_line, output, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.json")

    monkeypatch.setattr(UDATrainer, "_log_losses", full)
    line = error_line(output, "--resume")
    assert line.startswith("nothing more can be written (metrics.json): No space left on device")


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


def test_resume_with_another_network_or_data_order(error_line, output):
    line = error_line(output, "--resume", MODEL__SEM_SEG_HEAD__CONVS_DIM=16)
    assert line.startswith(f"--resume: what is in {output} does not fit the config")
    line = error_line(output, "--resume", SOLVER__IMS_PER_BATCH=1)
    assert "set SEED, SOLVER.IMS_PER_BATCH and DATASETS back" in line
    line = error_line(output, "--resume", SOLVER__MAX_ITER=2)
    assert "has 4 iterations already, more than SOLVER.MAX_ITER 2" in line


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
