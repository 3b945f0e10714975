import errno
import os
import threading

import cv2
import numpy as np
import pytest
import torch

from copt_d2.engine import launch
from copt_d2.engine.launch import _exit_with_line, _say, _say_once
from copt_d2.errors import InputError

NUMPY_CORE = np._core if hasattr(np, "_core") else np.core  # of numpy 2, of 1.26


def raising(error):
    def main(*_args):
        raise error

    return main


def ended(main, **options):
    """Exit status of a launch."""
    with pytest.raises(SystemExit) as raised:
        launch(main, **options)
    return raised.value.code


def test_arguments_arrive():
    seen = []
    launch(lambda *args: seen.append(args), args=(1, "two"))
    assert seen == [(1, "two")]


def test_mistake_of_the_user(capsys):
    assert ended(raising(InputError("key X is wrong:\nset it"))) == 1
    assert capsys.readouterr().err == "error: key X is wrong: set it\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(capsys, number):
    assert ended(raising(OSError(number, os.strerror(number), "events.1"))) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: nothing more can be written (events.1): {os.strerror(number)};")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        MemoryError(),
        NUMPY_CORE._exceptions._ArrayMemoryError((9, 9), np.dtype("f4")),
        cv2.error("OpenCV: (-4:Insufficient memory) Failed to allocate 99 bytes"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_too_little_memory(capsys, error):
    assert ended(raising(error)) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: out of memory: lower INPUT.CROP.SIZE or SOLVER.IMS_PER_BATCH")
    assert "SOLVER.AMP" in line
    assert line.count("\n") == 1


def test_a_loader_worker_that_dies_during_a_step(capsys):
    """torch raises it from a signal handler, wherever the main thread is."""
    text = "DataLoader worker (pid 7) is killed by signal: Killed. "
    assert ended(raising(RuntimeError(text))) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: a worker process of the loader (pid 7) is killed by signal: Kil")
    assert line.endswith("a training goes on with --resume\n")
    assert line.count("\n") == 1


def test_full_disk_in_a_thread_waits_for_the_main_thread(capsys):
    """TensorBoard's writer: its error comes up again at the next write."""

    def main(error):
        writer = threading.Thread(target=raising(error))
        writer.start()
        writer.join()

    launch(main, args=(OSError(errno.ENOSPC, "full"),))
    assert capsys.readouterr().err == ""
    launch(main, args=(OSError(errno.EIO, "broken"),))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "input/output"), ValueError("a bug"), RuntimeError("shapes")]
)
def test_other_errors_keep_their_traceback(capsys, error):
    with pytest.raises(type(error)):
        launch(raising(error))
    assert capsys.readouterr().err == ""


def test_ctrl_c(capsys):
    assert ended(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted: a training goes on with --resume\n"


def test_several_machines_need_an_address(capsys):
    assert ended(print, num_machines=2) == 1
    assert "--num-machines needs --dist-url tcp://" in capsys.readouterr().err


def test_more_processes_than_gpus(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert ended(print, num_gpus=3) == 1
    assert capsys.readouterr().err == "error: --num-gpus 3, but this machine has 1\n"


def test_more_processes_of_torchrun_than_gpus(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    for name, value in {"TORCHELASTIC_RUN_ID": "t", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert ended(print) == 1
    assert capsys.readouterr().err == (
        "error: torchrun starts 2 processes here, but this machine has 1 GPUs: lower "
        "--nproc-per-node\n"
    )


def test_other_ranks_of_torchrun_wait_before_they_speak(capsys, monkeypatch):
    """Rank 0 speaks at once; the others after torchrun would have ended them."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setenv("RANK", "0")
    _say_once("error: a mistake", 1)
    assert waited == []
    monkeypatch.setenv("RANK", "1")
    _say_once("error: a mistake", 1)
    assert len(waited) == 1
    assert waited[0] >= 1
    assert capsys.readouterr().err == "error: a mistake\n" * 2


def test_nothing_is_said_of_success(capsys):
    _exit_with_line(_say, lambda: None)
    launch(lambda: None)
    assert capsys.readouterr().err == ""
