"""Trains or evaluates what a config describes.

python tools/train_net.py --config-file configs/camvid_day2dusk.yaml [--eval-only] [--resume]
[--source-only] [--num-gpus N] [KEY VALUE ...]

python tools/train_net.py warehouse.yaml [KEY VALUE ...], with a data description, is
--config-file own_data DATASETS.FILE warehouse.yaml.
"""

import argparse
import logging
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path

# Idle OpenMP threads wait actively only for some microseconds (the default is milliseconds): short
# enough to leave a shared machine alone, long enough not to fall asleep between two small layers.
# The variable is read once, when torch loads the library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Of a damaged image our own message names the file; OpenCV's warning beside it does not.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from copt_d2.engine import (
    TrainingCheckpointer,
    UDATrainer,
    check_config,
    check_expected_results,
    evaluate_weights,
    launch,
    load_config,
)
from copt_d2.engine.config_files import student_only
from copt_d2.engine.dry_run import check_sizes
from copt_d2.engine.memory import memory_advice, training_advice
from copt_d2.engine.random_state import kept_random_state
from copt_d2.engine.run_lock import run_lock
from copt_d2.errors import InputError
from copt_d2.text import ensure_text_bank

OWN_DATA = "own_data"  # the config of a description that stands alone
# no adaptation, but all that a source alone allows: distorted colours and rare classes
SOURCE_ONLY = (
    *("MODEL.UDA.PHASES", "('source',)", "MODEL.UDA.FEATURE_LOSSES", "()"),
    *("MODEL.UDA.TARGET_FEATURE_LOSSES", "()", "INPUT.PHOTOMETRIC_DISTORTION", "True"),
    *("DATALOADER.RARE_CLASS.ENABLED", "True", "TEST.PRECISE_BN.ENABLED", "False"),
)


def prepare_text_bank(cfg: CfgNode) -> None:
    """Makes the text bank of the class names when CoPT is trained and it is missing.

    Encoders draw random numbers while they are built; a run must not depend on whether the bank was
    there already.
    """
    uda = cfg.MODEL.UDA
    if "CoPTLoss" not in (*uda.FEATURE_LOSSES, *uda.TARGET_FEATURE_LOSSES):
        return
    names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
    with kept_random_state():
        if comm.is_main_process():
            ensure_text_bank(cfg, names)
        comm.synchronize()
        cfg.MODEL.COPT.TEXT_BANK = str(ensure_text_bank(cfg, names))


def draw_seed() -> int:
    """One for all processes."""
    return comm.all_gather(random.SystemRandom().randrange(2**31))[0]


def seed_of_checkpoint(cfg: CfgNode) -> int:
    """The seed that an earlier process of this run has drawn; SEED without a checkpoint."""
    state = TrainingCheckpointer(cfg.OUTPUT_DIR).load_latest()
    return cfg.SEED if state is None else state["data"]["seed"]


@contextmanager
def writable_folder(cfg: CfgNode) -> Iterator[None]:
    """What cannot be written inside is the fault of OUTPUT_DIR."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} cannot be written: {error.strerror}"
        ) from error


def read_config(args: argparse.Namespace) -> tuple[CfgNode, bool]:
    """The checked config, whose output folder exists, and whether its seed is drawn (SEED -1)."""
    # the flag wins, but a key without a value keeps its message
    added = SOURCE_ONLY if args.source_only and len(args.opts) % 2 == 0 else ()
    cfg = load_config(args.config_file, [*args.opts, *added])
    if args.source_only and "OUTPUT_DIR" not in args.opts[::2]:
        cfg.OUTPUT_DIR = f"{cfg.OUTPUT_DIR.rstrip('/')}_source_only"
    is_drawn = cfg.SEED < 0
    if is_drawn:
        cfg.SEED = draw_seed()
    check_config(cfg, training=not args.eval_only)
    if comm.get_world_size() > 1 and cfg.MODEL.DEVICE == "cpu" and torch.cuda.is_available():
        raise InputError(
            "MODEL.DEVICE is cpu, but several processes talk through the GPUs of this machine: "
            "hide them with CUDA_VISIBLE_DEVICES= or use one process"
        )
    with writable_folder(cfg):
        Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    return cfg, is_drawn


def start_logs(cfg: CfgNode, early: Sequence[logging.LogRecord] = ()) -> None:
    """On standard output and in the output folder; first what was logged before."""
    with writable_folder(cfg):
        for name in ("copt_d2", "detectron2", "fvcore"):
            logger = setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name)
            for handler in logger.handlers:  # a file name that is no text must not lose its line
                getattr(handler.stream, "reconfigure", dict)(errors="backslashreplace")
    for record in early:
        logging.getLogger(record.name).handle(record)


def start_generators(cfg: CfgNode, args: argparse.Namespace) -> None:
    """The seeds of this process, and what the log says first."""
    logging.getLogger("copt_d2").info(
        "%s on %s, torch %s, seed %d; the whole config is in %s",
        *(args.config_file, cfg.MODEL.DEVICE, torch.__version__, cfg.SEED, cfg.OUTPUT_DIR),
    )
    seed_all_rng(cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def evaluate_only(cfg: CfgNode) -> None:
    """Evaluates MODEL.WEIGHTS, or the newest checkpoint of OUTPUT_DIR."""
    if not cfg.MODEL.WEIGHTS:
        files = TrainingCheckpointer(cfg.OUTPUT_DIR).files()
        if not files:
            raise InputError(
                "--eval-only needs MODEL.WEIGHTS FILE, or a checkpoint in OUTPUT_DIR "
                f"{cfg.OUTPUT_DIR}"
            )
        cfg.MODEL.WEIGHTS = str(files[0])
    alone = cfg.clone()
    student_only(alone)
    model = build_model(alone)
    check_sizes(cfg, model.student, training=False)
    check_expected_results(cfg, evaluate_weights(cfg, model))


def train(
    cfg: CfgNode,
    args: argparse.Namespace,
    is_drawn: bool,
    early: Sequence[logging.LogRecord] = (),
) -> None:
    """Trains, alone in OUTPUT_DIR."""
    with ExitStack() as stack:
        with writable_folder(cfg):
            stack.enter_context(run_lock(cfg.OUTPUT_DIR))
        start_logs(cfg, early)
        if is_drawn and args.resume:
            cfg.SEED = seed_of_checkpoint(cfg)
        start_generators(cfg, args)
        prepare_text_bank(cfg)
        with memory_advice(training_advice(cfg)):
            trainer = UDATrainer(cfg)
            trainer.resume_or_load(args.resume)
            trainer.train()
        check_expected_results(cfg, trainer.results)


@contextmanager
def kept_log() -> Iterator[list[logging.LogRecord]]:
    """What is logged before there is an output folder to log in."""
    logger, kept = logging.getLogger("copt_d2"), MemoryHandler(2**16, flushLevel=sys.maxsize)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(kept)
    try:
        yield kept.buffer
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)


def main(args: argparse.Namespace) -> None:
    """Runs in every process."""
    with kept_log() as early:
        cfg, is_drawn = read_config(args)
    if not args.eval_only:
        train(cfg, args, is_drawn, early)
        return
    start_logs(cfg, early)
    start_generators(cfg, args)
    evaluate_only(cfg)


class FlagsAnywhere(argparse.ArgumentParser):
    """Takes flags before, between and after the keys and values of the config."""

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Keys and values come as ``opts``; a flag that is unknown ends the program."""
        found, found.opts = self.parse_known_args(args, namespace)
        self._take_description(found)
        unknown = [part for part in found.opts if part.startswith("--")]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def _take_description(self, found: argparse.Namespace) -> None:
        # a file before the pairs of keys and values
        first = found.opts[0] if len(found.opts) % 2 else ""
        if first.lower().endswith((".yaml", ".yml")) or (first and Path(first).is_file()):
            found.config_file = found.config_file or OWN_DATA
            found.opts = ["DATASETS.FILE", *found.opts]


def argument_parser() -> argparse.ArgumentParser:
    """detectron2's flags."""
    parser = FlagsAnywhere(
        usage="%(prog)s {DESCRIPTION | --config-file FILE} [--eval-only] [--resume] "
        "[--source-only] [--num-gpus N] [KEY VALUE ...]"
    )
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="what to train or evaluate")
    add("--resume", action="store_true", help="go on from the newest checkpoint of OUTPUT_DIR")
    add("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS or the newest checkpoint")
    add("--source-only", action="store_true", help="the fair baseline: never sees the target")
    add("--num-gpus", type=int, default=1, metavar="N", help="processes on this machine")
    add("--num-machines", type=int, default=1, metavar="N", help="machines in the job")
    add("--machine-rank", type=int, default=0, metavar="N", help="number of this one, from 0")
    # a fixed port could not be opened by a second run on the machine
    add("--dist-url", default="auto", metavar="URL", help="where processes meet: tcp://HOST:PORT")
    return parser


def run(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and runs ``main`` in as many processes as it says."""
    arguments = argument_parser().parse_args(argv)
    launch(
        main,
        num_gpus=arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )


if __name__ == "__main__":
    run()
