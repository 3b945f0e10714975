"""Seconds per phase of a training iteration, images a second, waiting for data, peak memory.

python tools/benchmark_step.py [--config-file F] [--steps N] [KEY VALUE ...]
"""

import argparse
import multiprocessing
import os
import sys
import tempfile

# as train_net.py sets it
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

from detectron2.data import MetadataCatalog

from copt_d2.data import build_uda_train_loader
from copt_d2.engine import UDATrainer, check_config, load_config
from copt_d2.engine.measuring import Stopwatch, describe_machine, describe_memory, peak_mib
from copt_d2.errors import InputError
from copt_d2.text import ensure_text_bank

DEFAULT = "camvid_day2dusk"


def time_steps(trainer: UDATrainer, steps: int) -> tuple[Stopwatch, list[float]]:
    """Runs ``steps`` iterations as the trainer does, after three that do not count.

    Returns:
        the seconds of each part, and the peak memory of each of the loader's workers in MiB.
    """
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
    return watch, [peak_mib(process.pid) for process in multiprocessing.active_children()]


def print_report(watch: Stopwatch, worker_mib: list[float], images: int) -> None:
    """One row per part of the step, and what a step takes as a whole."""
    total = sum(watch.medians().values())
    seconds = watch.seconds
    waiting = sum(seconds["waiting for data"]) / sum(sum(v) for v in seconds.values())
    print(watch.table())
    print(f"step {total:.3f} s, {images / total:.1f} images/s, waiting for data {waiting:.1%}")
    workers = ", ".join(f"{mib:.0f}" for mib in worker_mib) or "none"
    print(f"{describe_memory()}; of the loader's workers: {workers}")


def main(argv: list[str] | None = None) -> None:
    """Reads the config, builds the trainer, times it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", default=DEFAULT)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    try:
        if arguments.steps < 1:
            raise InputError(f"--steps is {arguments.steps}; it must be 1 or more")
        cfg = load_config(arguments.config_file, arguments.opts)
        check_config(cfg)
        names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
        if "CoPTLoss" in (*cfg.MODEL.UDA.FEATURE_LOSSES, *cfg.MODEL.UDA.TARGET_FEATURE_LOSSES):
            cfg.MODEL.COPT.TEXT_BANK = str(ensure_text_bank(cfg, names))
        with tempfile.TemporaryDirectory() as folder:
            cfg.OUTPUT_DIR = folder
            watch, worker_mib = time_steps(UDATrainer(cfg), arguments.steps)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{arguments.config_file}: {describe_machine()}")
    print_report(watch, worker_mib, images=2 * cfg.SOLVER.IMS_PER_BATCH)


if __name__ == "__main__":
    main()
