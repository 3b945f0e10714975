"""Starts one process per device, or joins those that torchrun has started."""

import atexit
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from ..data.workers import worker_failure
from ..errors import InputError, is_out_of_memory
from ..files import NO_SPACE
from .memory import memory_line
from .stop_signals import FORWARDED_WITHIN, StopSignals, Terminated

INTERRUPTED = 130  # as shells report a program that Ctrl-C has ended
PATIENCE = 3.0  # seconds until torchrun has ended the other processes


def _say(line: str, status: int) -> None:
    """One line on standard error. ``status``: with which the process will end."""
    print(line, file=sys.stderr, flush=True)


def _say_once(line: str, status: int) -> None:
    """Under torchrun several processes may have found the same mistake: rank 0 says it, and the
    others only if nobody has ended them meanwhile, that is, if rank 0 has found nothing. A signal
    that rank 0 has not got ends it soon.
    """
    if int(os.environ["RANK"]) > 0:
        if status != 1:
            return
        time.sleep(PATIENCE)
    _say(line, status)


def _thread_hook(problem: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread; a full disk there comes up again at the next write."""
    error = problem.exc_value
    if not (isinstance(error, OSError) and error.errno in NO_SPACE):
        threading.__excepthook__(problem)


def _worker_hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A loader's worker inherits it; Ctrl-C can end the process that takes what it offers."""
    if not (isinstance(error, ConnectionError) and multiprocessing.parent_process()):
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _told_once() -> Iterator[None]:
    """Threads, log handlers and workers add no tracebacks to what the main thread will tell."""
    before = sys.excepthook, threading.excepthook, logging.raiseExceptions
    sys.excepthook, threading.excepthook = _worker_hook, _thread_hook
    logging.raiseExceptions = False
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, logging.raiseExceptions = before


def _forget_unwritten() -> None:
    """What files still hold cannot be written at exit either, which would be told again."""
    sys.unraisablehook = lambda _: None


def _line_of(error: Exception) -> str | None:
    """What a user can mend, in one line; ``None`` for a mistake of the program's."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"nothing more can be written{where}: {error.strerror}; free space on the disk of "
            "OUTPUT_DIR and go on with --resume, earlier checkpoints are intact"
        )
    if is_out_of_memory(error):
        return memory_line(error)
    return worker_failure(error)  # which comes up wherever the main thread is at that moment


def _exit_with_line(
    say: Callable[[str, int], None], main: Callable[..., None], *args: Any, patience: float = 0.0
) -> None:
    """Runs ``main``; what a user can mend ends in one line and exit status 1, SIGTERM and SIGHUP in
    one line and their status. ``patience`` as of `StopSignals`.
    """
    try:
        with _told_once(), StopSignals(patience) as signals, signals.at_once():
            main(*args)
    except Terminated as ended:
        say(ended.line, ended.code)
        raise
    except Exception as error:
        line = _line_of(error)
        if line is None:
            raise
        say(f"error: {' '.join(line.splitlines())}", 1)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            atexit.register(_forget_unwritten)
        sys.exit(1)


def _share_cores(processes: int) -> None:
    """Processes on one machine without GPUs share its cores."""
    if processes > 1 and not torch.cuda.is_available():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def _worker(messages: SimpleQueue, processes: int, main: Callable[..., None], *args: Any) -> None:
    """A process that ``launch`` has started; its parent says what goes wrong, once for all."""
    _share_cores(processes)

    def say(line: str, status: int) -> None:
        messages.put((line, status))

    _exit_with_line(say, main, *args, patience=FORWARDED_WITHIN)


def _wait_for_torchrun(main: Callable[..., None], *args: Any) -> None:
    """If a connection breaks, another process has ended; torchrun will end this one in a moment."""
    try:
        main(*args)
    except RuntimeError:
        time.sleep(PATIENCE)
        raise


def _join_torchrun(main: Callable[..., None], args: tuple[Any, ...]) -> None:
    local_processes = int(os.environ["LOCAL_WORLD_SIZE"])
    has_gpu = torch.cuda.is_available()
    if has_gpu and local_processes > torch.cuda.device_count():
        _say_once(
            f"error: torchrun starts {local_processes} processes here, but this machine has "
            f"{torch.cuda.device_count()} GPUs: lower --nproc-per-node",
            status=1,
        )
        sys.exit(1)
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if has_gpu else "gloo")
    try:
        comm.create_local_process_group(local_processes)
        _share_cores(local_processes)
        job = (_wait_for_torchrun, main, *args)
        _exit_with_line(_say_once, *job, patience=FORWARDED_WITHIN)
    finally:
        dist.destroy_process_group()


def _pass_on(number: int) -> None:
    for process in multiprocessing.active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _start_processes(
    main: Callable[..., None], args: tuple[Any, ...], processes: int, **job: Any
) -> None:
    """Starts the processes of this machine and waits for them."""
    # it would tell of every process that it ends because another one has failed
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        with StopSignals(first=_pass_on) as signals:
            detectron2_launch(_worker, processes, args=(messages, processes, main, *args), **job)
    except (ProcessExitedException, ProcessRaisedException) as error:
        # a process that lost its connection to one with a message has an error of its own
        if not messages.empty():
            line, status = messages.get()
            _say(line, status)
            sys.exit(status)
        if signals.number:  # before the processes could say anything
            ended = Terminated(signals.number)
            _say(ended.line, ended.code)
            raise ended from error
        if isinstance(error, ProcessRaisedException):
            raise
        _say(f"error: {error.msg}; go on with --resume", 1)
        sys.exit(1)
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def _check_job(num_gpus: int, num_machines: int, dist_url: str) -> None:
    if torch.cuda.is_available() and num_gpus > torch.cuda.device_count():
        raise InputError(f"--num-gpus {num_gpus}, but this machine has {torch.cuda.device_count()}")
    if num_machines > 1 and dist_url == "auto":
        raise InputError("--num-machines needs --dist-url tcp://<first machine>:<free port>")


def launch(
    main: Callable[..., None],
    *,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    args: tuple[Any, ...] = (),
) -> None:
    """Runs ``main(*args)`` in every process; without GPUs the processes share the cores and talk
    over gloo.

    Under torchrun its variables count and ``num_gpus`` does not. An ``InputError``, a full disk or
    too little memory ends all processes with one line on standard error and exit status 1, Ctrl-C
    with status 130.

    Args:
        main: must be importable by name (it is pickled for new processes).
        num_gpus: processes per machine.
        num_machines: machines in the job.
        machine_rank: this machine's number, from 0.
        dist_url: where processes meet; "auto" on one machine.
        args: for ``main``.
    """
    try:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            _join_torchrun(main, args)
            return
        _exit_with_line(_say, _check_job, num_gpus, num_machines, dist_url)
        if num_gpus * num_machines <= 1:
            _exit_with_line(_say, main, *args)
            return
        job = {"num_machines": num_machines, "machine_rank": machine_rank, "dist_url": dist_url}
        _start_processes(main, args, num_gpus, **job)
    except KeyboardInterrupt:
        print("interrupted: a training goes on with --resume", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
