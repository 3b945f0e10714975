"""Starts one process per device, or joins those that torchrun has started."""

import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException

from ..errors import InputError


def _exit_with_line(main: Callable[..., None], *args: Any) -> None:
    """Runs ``main``; what a user can mend ends in one line on standard error and exit status 1."""
    try:
        main(*args)
    except InputError as error:
        # several processes find the same mistake: one of them says it, the others wait to be ended
        if comm.is_main_process() or comm.get_world_size() == 1:
            print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _share_cores(processes: int) -> None:
    """Processes on one machine without GPUs share its cores."""
    if processes > 1 and not torch.cuda.is_available():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def _worker(main: Callable[..., None], processes: int, *args: Any) -> None:
    _share_cores(processes)
    _exit_with_line(main, *args)


def _join_torchrun(main: Callable[..., None], args: tuple[Any, ...]) -> None:
    local_processes = int(os.environ["LOCAL_WORLD_SIZE"])
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if has_gpu else "gloo")
    try:
        comm.create_local_process_group(local_processes)
        _worker(main, local_processes, *args)
    finally:
        dist.destroy_process_group()


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

    Under torchrun its variables count and ``num_gpus`` does not.

    Args:
        main: must be importable by name (it is pickled for new processes).
        num_gpus: processes per machine.
        num_machines: machines in the job.
        machine_rank: this machine's number, from 0.
        dist_url: where processes meet; "auto" on one machine.
        args: for ``main``.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _join_torchrun(main, args)
        return
    if torch.cuda.is_available() and num_gpus > torch.cuda.device_count():
        print(
            f"error: --num-gpus {num_gpus}, but this machine has {torch.cuda.device_count()}",
            file=sys.stderr,
        )
        sys.exit(1)
    try:
        detectron2_launch(
            *(_worker, num_gpus),
            num_machines=num_machines,
            machine_rank=machine_rank,
            dist_url=dist_url,
            args=(main, num_gpus, *args),
        )
    except ProcessExitedException as error:
        sys.exit(error.exit_code or 1)
