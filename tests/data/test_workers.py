"""Loaders whose workers lack shared memory, die or hang: the same batches, or one line in time."""

import errno
import multiprocessing
import os
import re
import signal
import threading
import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from copt_d2.data import (
    build_uda_test_loader,
    build_uda_train_loader,
    loader,
    shared_memory,
    streams,
    workers,
)
from copt_d2.errors import InputError

MB = 10**6


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes of shared memory that seem to be free, in workers too."""
    return lambda size: monkeypatch.setattr(shared_memory, "free_shared_bytes", lambda: size)


@pytest.fixture
def impatient(monkeypatch):
    """A loader counts as stuck after a second."""
    monkeypatch.setattr(loader, "patience", lambda images, workers: 1.0)


@pytest.fixture
def cfg(cfg, day_and_dusk):
    cfg.DATALOADER.NUM_WORKERS = 1
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    return cfg


def hang(*_args):
    time.sleep(60)


def message(iterable, count=100):
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        for _ in islice(iterable, count):
            pass
    assert time.monotonic() - started < 20
    assert "\n" not in str(error.value)
    assert multiprocessing.active_children() == []
    return str(error.value)


# shared memory


@pytest.mark.parametrize(
    ("size", "count", "fitting", "told"),
    [
        (None, 1, 4, None),
        # (4 + 2) batches of 16 MB, and 1 MiB for other things
        (97_048_576, 1, 4, None),
        (97_048_575, 1, 3, "wants 97.0 MB .* 4 batches of 16.0 MB .* has 97.0 MB free, so each"),
        (64 * MB, 1, 1, "wants 97.0 MB .* has 64.0 MB free, so each prepares 1 ahead"),
        # (2 * 2 + 2) batches
        (100 * MB, 2, 2, "wants 161.0 MB .* so each prepares 2 ahead"),
        (49 * MB, 1, 4, "has 49.0 MB free, so what has no room there is sent through pipes"),
        (0, 8, 4, r"has 0.0 MB free"),
    ],
)
def test_as_many_batches_ahead_as_fit(free, caplog, size, count, fitting, told):
    free(size)
    assert shared_memory.fitting_prefetch(16 * MB, count, 4) == fitting
    assert len(caplog.messages) == (told is not None)
    if told:
        assert re.search(told, caplog.messages[0])


def test_test_images_are_of_any_size(free, caplog):
    free(0)
    assert shared_memory.fitting_prefetch(0, 1, 4) == 4
    assert caplog.messages == []


def test_processes_of_a_machine_share_its_memory(free, monkeypatch):
    free(97_048_576)
    monkeypatch.setattr(shared_memory.comm, "get_local_size", lambda: 2)
    assert shared_memory.fitting_prefetch(16 * MB, 1, 4) == 1  # 2 * (1 + 2) batches


def test_bytes_of_a_batch(cfg, monkeypatch):
    """Those that are counted are those that are sent."""
    seen = []
    monkeypatch.setattr(loader, "fitting_prefetch", lambda *args: seen.append(args) or 1)
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.INPUT.CROP.SIZE = [19, 27]  # the images' own size
    (batch,) = islice(build_uda_train_loader(cfg), 1)
    tensors = [v for s in (*batch["source"], *batch["target"]) for v in s.values() if v is not str]
    size = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
    assert seen == [(size, 1, 4)]


def test_what_is_free_is_read_from_the_system(monkeypatch):
    free = shared_memory.free_shared_bytes()
    assert free is None or free >= 0
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", "/nowhere")
    monkeypatch.setattr(shared_memory.sys, "platform", "linux")
    assert shared_memory.free_shared_bytes() == 0
    monkeypatch.setattr(shared_memory.sys, "platform", "darwin")
    assert shared_memory.free_shared_bytes() is None


def no_room(_tensor):
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left")


@pytest.mark.parametrize("why", ["none is free", "another process was faster"])
def test_without_shared_memory_the_batches_are_the_same(cfg, free, monkeypatch, why):
    expected = list(islice(build_uda_train_loader(cfg), 12))
    if why == "none is free":
        free(0)
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    for batch, other in zip(islice(build_uda_train_loader(cfg), 12), expected, strict=True):
        for domain in ("source", "target"):
            for a, b in zip(batch[domain], other[domain], strict=True):
                assert a.keys() == b.keys()
                assert all(torch.equal(a[k], b[k]) for k in a if k != "file_name")
                assert a["file_name"] == b["file_name"]
                a["image"].add_(1)  # it can be written


def test_images_of_several_sizes_with_little_shared_memory(cfg, day_and_dusk, monkeypatch, caplog):
    """Small ones go through it, large ones through the pipe."""
    for index, height in enumerate((7, 300, 7, 300, 40)):
        labels = np.zeros((height, 500), dtype=np.uint8)
        day_and_dusk.camvid_pair("train", f"0006R0_{index:03}", labels)
    share = torch.Tensor.share_memory_
    monkeypatch.setattr(
        torch.Tensor, "share_memory_", lambda t: no_room(t) if t.nbytes > 100_000 else share(t)
    )
    monkeypatch.setattr("detectron2.utils.logger._LOG_COUNTER", Counter())
    sizes = [batch[0]["image"].shape[1] for batch in build_uda_test_loader(cfg, "camvid_day_train")]
    assert sizes == [7, 300, 7, 300, 40]
    assert len(caplog.messages) == 1
    assert "sent through pipes" in caplog.text


def test_workers_that_cannot_be_started(cfg, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch.multiprocessing, "Queue", full)
    line = message(build_uda_train_loader(cfg))
    assert "cannot start its 1 worker processes (No space left on device)" in line


# death


@pytest.mark.parametrize(
    ("end", "when"),
    [
        *((end, "at work") for end in (signal.SIGKILL, signal.SIGBUS, "exit")),
        *((end, "idle") for end in (signal.SIGKILL, signal.SIGBUS)),
    ],
)
def test_a_worker_that_dies(cfg, monkeypatch, end, when):
    def die(*_args):
        os._exit(3) if end == "exit" else os.kill(os.getpid(), end)

    if when == "at work":
        monkeypatch.setattr(streams, "draw_index", die)
        line = message(build_uda_train_loader(cfg))
    else:
        batches = iter(build_uda_train_loader(cfg))
        next(batches)
        os.kill(multiprocessing.active_children()[0].pid, end)
        line = message(batches)
    assert line.startswith("a worker process of the loader (pid ")
    assert line.endswith("; a training goes on with --resume")
    words = {
        "exit": "exited unexpectedly with exit code 3",
        signal.SIGKILL: "Killed",
        signal.SIGBUS: "/dev/shm",
    }
    assert words[end] in line


def test_any_other_error_stays(cfg, monkeypatch):
    def wrong(*_args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(streams, "draw_index", wrong)
    with pytest.raises(RuntimeError, match="a bug"):
        next(iter(build_uda_train_loader(cfg)))


def test_memory_that_a_worker_lacks(cfg, monkeypatch):
    def full(*_args):
        raise MemoryError("Unable to allocate 2 GiB")

    monkeypatch.setattr(streams, "draw_index", full)
    with pytest.raises(MemoryError, match="Unable to allocate 2 GiB"):
        next(iter(build_uda_train_loader(cfg)))


def test_open_files_that_do_not_suffice():
    error = RuntimeError("Too many open files. Communication with the workers is no longer")
    assert "ulimit -n" in workers.worker_failure(error)
    assert workers.worker_failure(RuntimeError("a bug")) is None
    assert workers.worker_failure(ValueError("DataLoader worker (pid 1) is killed")) is None


# hanging


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_system_that_does_not_answer(cfg, impatient, monkeypatch, count):
    cfg.DATALOADER.NUM_WORKERS = count
    monkeypatch.setattr(streams, "draw_index", hang)
    line = message(build_uda_train_loader(cfg))
    assert line.startswith("the loader has waited 1 s for its next batch, ")
    assert ("worker processes (pid " in line) == (count > 0)
    assert "--resume" in line


def test_a_test_image_that_hangs(cfg, impatient, monkeypatch):
    monkeypatch.setattr(loader.TestMapper, "__call__", hang)
    assert "waited 1 s" in message(build_uda_test_loader(cfg, "camvid_day_train"))


def test_a_worker_that_is_stopped(cfg, impatient):
    """It holds batches that have been announced, which torch fetches without a limit of time."""
    batches = iter(build_uda_train_loader(cfg))
    next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
    assert re.match(r"the loader has waited \d+ s for its next batch", message(batches))


def test_a_stopped_worker_does_not_keep_a_training_from_its_end(cfg, monkeypatch):
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    batches = iter(build_uda_train_loader(cfg))
    next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
    started = time.monotonic()
    batches.close()
    assert time.monotonic() - started < 20
    assert multiprocessing.active_children() == []


def test_outside_the_main_thread(cfg, impatient, monkeypatch):
    monkeypatch.setattr(streams, "draw_index", hang)
    lines = []
    thread = threading.Thread(target=lambda: lines.append(message(build_uda_train_loader(cfg))))
    thread.start()
    thread.join()
    assert "waited 1 s" in lines[0]


def test_a_stop_of_this_process_does_not_count():
    """Ctrl-Z, or a machine that sleeps: the clock goes on, the process does not."""
    with workers.limited(0.8):
        for _ in range(4):  # each tick of 0.1 s comes once, however long the signal was blocked
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(0.25)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def test_a_timer_of_somebody_else_goes_on():
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with workers.limited(0.01):
        time.sleep(0.2)
    signal.signal(signal.SIGALRM, before)
    assert seen == [1]


def test_patience_grows_with_the_batch_and_with_workers_that_share_a_core(monkeypatch):
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 4)
    assert workers.patience(4, 0) == workers.patience(4, 4) == 60 + 4 * 15
    assert workers.patience(1, 12) == 60 + 15 * 3
