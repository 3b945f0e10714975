"""Seconds per phase of a training iteration, images a second, waiting for data, peak memory.

python tools/benchmark_step.py [--config-file F] [--steps N] [KEY VALUE ...]
"""

import argparse
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

# as train_net.py sets it
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from tabulate import tabulate

from copt_d2.data import build_uda_train_loader
from copt_d2.engine import UDATrainer, check_config, load_config
from copt_d2.errors import InputError
from copt_d2.text import ensure_text_bank

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / "configs" / "camvid_day2dusk.yaml"


class Stopwatch:
    """Seconds by name, one entry a step; waits for the device before it reads the clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.last = time.perf_counter()
        self.worker_mib: list[float] = []

    def lap(self, name: str) -> None:
        """Books the time since the last lap under ``name``."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name].append(now - self.last)
        self.last = now


def time_steps(trainer: UDATrainer, steps: int) -> Stopwatch:
    """Runs ``steps`` iterations as the trainer does, after three that do not count."""
    model, optimizer = trainer.model.train(), trainer.optimizer
    data = iter(build_uda_train_loader(trainer.cfg))
    watch = Stopwatch(model.device)
    for iteration in range(steps + 3):
        if iteration == 3:
            watch = Stopwatch(model.device)
        batch = next(data)
        watch.lap("waiting for data")
        if model.teacher is not None:
            model.teacher.update(model.student, iteration)
            watch.lap("teacher update")
        trainer.last_batch = model.preprocess(batch)
        optimizer.zero_grad()
        watch.lap("preprocessing")
        for phase in trainer.phases():
            name = next(iter(phase)).split("_")[1]
            watch.lap(f"{name} forward")
            sum(phase.values()).backward()
            watch.lap(f"{name} backward")
        optimizer.step()
        watch.lap("optimizer")
    watch.worker_mib = [peak_mib(process.pid) for process in multiprocessing.active_children()]
    return watch


def peak_mib(pid: int) -> float:
    """Largest resident memory of a running process so far; 0 where Linux does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    kib = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kib[0]) / 1024 if kib else 0.0


def describe() -> str:
    """Device, versions and commit."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return (
        f"{device}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, commit {commit}"
    )


def print_report(watch: Stopwatch, images: int) -> None:
    """One row per part of the step; the median of each, and its share of the sum of medians."""
    seconds = watch.seconds
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    total = sum(medians.values())
    rows = [
        [name, median, np.percentile(seconds[name], 90), f"{100 * median / total:.1f} %"]
        for name, median in medians.items()
    ]
    waiting = sum(seconds["waiting for data"]) / sum(sum(v) for v in seconds.values())
    print(tabulate(rows, headers=["part", "median s", "90 % s", "share"], floatfmt=".4f"))
    print(f"step {total:.3f} s, {images / total:.1f} images/s, waiting for data {waiting:.1%}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        print(f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    workers = ", ".join(f"{mib:.0f}" for mib in watch.worker_mib) or "none"
    print(f"peak RSS {peak:.0f} MiB; of the loader's workers: {workers}")


def main(argv: list[str] | None = None) -> None:
    """Reads the config, builds the trainer, times it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", default=str(DEFAULT))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    try:
        if arguments.steps < 1:
            raise InputError(f"--steps is {arguments.steps}; it must be 1 or more")
        cfg = load_config(arguments.config_file, arguments.opts)
        check_config(cfg)
        names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
        if "CoPTLoss" in cfg.MODEL.UDA.FEATURE_LOSSES:
            cfg.MODEL.COPT.TEXT_BANK = str(ensure_text_bank(cfg, names))
        with tempfile.TemporaryDirectory() as folder:
            cfg.OUTPUT_DIR = folder
            watch = time_steps(UDATrainer(cfg), arguments.steps)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{arguments.config_file}: {describe()}")
    print_report(watch, images=2 * cfg.SOLVER.IMS_PER_BATCH)


if __name__ == "__main__":
    main()
