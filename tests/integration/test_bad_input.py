"""What a user can mend ends in one line on standard error and status 1, never in a traceback."""

import errno
import os
import subprocess
import sys

import in_process
import pytest
import torch
from command_line import SCRIPT
from PIL import Image

from copt_d2.engine import UDATrainer
from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.modeling import TimmBackbone

pytestmark = pytest.mark.integration


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
    assert f"0016E5_00001.png is 96x64 but its label file {path} is 96x60" in line


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
    assert line.startswith("DATASETS.TEST: 'camvid_dusk_train' has no labels, so there is nothing")
    assert "TEST.EXPORT" in line


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
        (
            {"MODEL__BACKBONE__NAME": "build_mit_backbone", "MODEL__BACKBONE__FREEZE_AT": 2},
            ("MODEL.BACKBONE.FREEZE_AT is 2", "MiT is trained as a whole"),
        ),
        (
            {"MODEL__HRDA__ENABLED": True, "INPUT__CROP__SIZE": [60, 64]},
            ("INPUT.CROP.SIZE is (60, 64)", "multiples of 8"),
        ),
        ({"MODEL__UDA__MASK_BLOCK_SIZE": 128}, ("MASK_BLOCK_SIZE is 128", "INPUT.CROP.SIZE")),
        ({"INPUT__CROP__SIZE": "[0, 64]"}, ("INPUT.CROP.SIZE",)),
        ({"SOLVER__IMS_PER_BATCH": 0}, ("SOLVER.IMS_PER_BATCH is 0",)),
        (
            {"SOLVER__CLIP_GRADIENTS__ENABLED": True},
            ("SOLVER.CLIP_GRADIENTS.ENABLED is True, but it has no effect here",),
        ),
        ({"SOLVER__BASE_LR": -1.0}, ("SOLVER.BASE_LR is -1.0; it must be 0 or more",)),
        ({"INPUT__CROP__ENABLED": False}, ("INPUT.CROP.ENABLED is False", "INPUT.CROP.SIZE")),
        ({"MODEL__UDA__PHASES": "()"}, ("MODEL.UDA.PHASES is ()", "'masked'")),
        ({"SOLVER__BACKWARD": "each"}, ("SOLVER.BACKWARD", "'each'", "phase, loss, sum")),
        ({"MODEL__UDA__PHASES": "('mixed',)"}, ("MODEL.UDA.FEATURE_LOSSES", "lacks")),
        ({"MODEL__UDA__IGNORE_TOP": -1}, ("MODEL.UDA.IGNORE_TOP is -1",)),
        (
            {"MODEL__META_ARCHITECTURE": "SemanticSegmentor"},
            ("MODEL.META_ARCHITECTURE 'SemanticSegmentor'", "UDASegmentor"),
        ),
        (
            {"DATASETS__TRAIN": "('camvid_day_train', 'camvid_day_train')"},
            ("DATASETS.TRAIN", "names a data set twice"),
        ),
        ({"TEST__WINDOW": "(64,)"}, ("TEST.WINDOW is (64,)", "(height, width)")),
        ({"TEST__STRIDE": "(64, 64)"}, ("TEST.STRIDE is (64, 64)", "TEST.WINDOW is empty")),
        (
            {"TEST__WINDOW": "(48, 48)", "TEST__STRIDE": "(48, 64)"},
            ("TEST.STRIDE (48, 64) is larger than TEST.WINDOW (48, 48)",),
        ),
        ({"TEST__CLASSES": "[3, 99]"}, ("TEST.CLASSES [99]", "NUM_CLASSES 11")),
    ],
)
def test_wrong_values(error_line, tmp_path, changes, parts):
    line = error_line(tmp_path, **changes)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_encoder_weights(error_line, tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights at all")
    line = error_line(tmp_path / "out", MODEL__TIMM__WEIGHTS=tmp_path / name)
    assert line.startswith(f"MODEL.TIMM.WEIGHTS {tmp_path / name} ")
    assert len(line) < 300


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
    assert line.startswith(f"{config}, line 1: ")
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


# memory


def without_memory(module, calls):
    """``module.forward`` as if the allocator had nothing left from the call number ``calls`` on."""
    forward, seen = module.forward, []

    def failing(self, images):
        if images.is_meta:  # the look at its sizes needs no memory
            return forward(self, images)
        seen.append(images)
        if len(seen) < calls:
            return forward(self, images)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    return failing


@pytest.mark.parametrize("calls", [1, 8])  # while it begins, and in the third iteration
def test_memory_that_does_not_suffice_for_training(error_line, tmp_path, monkeypatch, calls):
    monkeypatch.setattr(TimmBackbone, "forward", without_memory(TimmBackbone, calls))
    line = error_line(tmp_path)
    assert line.startswith(
        "out of memory: lower INPUT.CROP.SIZE ((64, 96)) or SOLVER.IMS_PER_BATCH (2), or set "
        "SOLVER.AMP.ENABLED True (it is False) and SOLVER.BACKWARD phase (it is phase)"
    )
    assert "Tried to allocate 2.00 GiB. GPU 0 has" in line


def test_memory_that_does_not_suffice_where_sizes_are_tried(error_line, tmp_path, monkeypatch):
    def full(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99")

    monkeypatch.setattr("torch.nn.functional.conv2d", full)
    assert error_line(tmp_path).startswith("out of memory: lower INPUT.CROP.SIZE ((64, 96)) or")


@pytest.mark.parametrize("window", [(), (64, 96)])
def test_memory_that_does_not_suffice_for_evaluation(error_line, output, monkeypatch, window):
    monkeypatch.setattr(TimmBackbone, "forward", without_memory(TimmBackbone, 3))
    line = error_line(output, "--eval-only", TEST__WINDOW=window, TEST__STRIDE=window)
    change = f"lower TEST.WINDOW and TEST.STRIDE ({window})" if window else "set TEST.WINDOW"
    assert line.startswith(f"out of memory: in evaluation, {change}, or lower the box INPUT.TEST")


def test_a_file_that_memory_cannot_hold(error_line, tmp_path, monkeypatch):
    def read(*args, **options):
        raise MemoryError

    monkeypatch.setattr("copt_d2.data.mappers.read_image", read)
    assert "out of memory: lower INPUT.CROP.SIZE" in error_line(tmp_path)
    assert "(MemoryError)" in error_line(tmp_path)
