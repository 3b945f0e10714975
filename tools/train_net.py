"""Trains or evaluates what a config describes.

python tools/train_net.py --config-file configs/camvid_day2dusk.yaml [--eval-only] [--resume]
[--num-gpus N] [KEY VALUE ...]
"""

import argparse
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path

# Idle OpenMP threads wait actively only for some microseconds (the default is milliseconds): short
# enough to leave a shared machine alone, long enough not to fall asleep between two small layers.
# The variable is read once, when torch loads the library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Of a damaged image our own message names the file; OpenCV's warning beside it does not.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import default_argument_parser
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
from copt_d2.engine.memory import memory_advice, training_advice
from copt_d2.engine.random_state import kept_random_state
from copt_d2.errors import InputError
from copt_d2.text import ensure_text_bank


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


def choose_seed(cfg: CfgNode, resume: bool) -> int:
    """SEED, or where it is negative a random one, which a resumed run finds in its folder."""
    if cfg.SEED >= 0:
        return cfg.SEED
    earlier = Path(cfg.OUTPUT_DIR) / "config.yaml"
    if resume and earlier.is_file():
        return int(yaml.safe_load(earlier.read_text())["SEED"])
    return comm.all_gather(random.SystemRandom().randrange(2**31))[0]


def setup(args: argparse.Namespace) -> CfgNode:
    """Config, output folder, logs and seeds of this process."""
    cfg = load_config(args.config_file, args.opts)
    cfg.SEED = choose_seed(cfg, args.resume)
    check_config(cfg, training=not args.eval_only)
    if comm.get_world_size() > 1 and cfg.MODEL.DEVICE == "cpu" and torch.cuda.is_available():
        raise InputError(
            "MODEL.DEVICE is cpu, but several processes talk through the GPUs of this machine: "
            "hide them with CUDA_VISIBLE_DEVICES= or use one process"
        )
    folder = Path(cfg.OUTPUT_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("copt_d2", "detectron2", "fvcore"):
            setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name)
    except OSError as error:
        raise InputError(f"OUTPUT_DIR {folder} cannot be written: {error.strerror}") from error
    logging.getLogger("copt_d2").info(
        "%s on %s, torch %s, seed %d; the whole config is in %s",
        *(args.config_file, cfg.MODEL.DEVICE, torch.__version__, cfg.SEED, folder),
    )
    seed_all_rng(cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    return cfg


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
    alone.MODEL.UDA.FEATURE_LOSSES = alone.MODEL.UDA.TARGET_FEATURE_LOSSES = ()
    alone.MODEL.MIT.WEIGHTS = ""  # MODEL.WEIGHTS holds the encoder too
    alone.MODEL.UDA.PHASES = ("source",)
    check_expected_results(cfg, evaluate_weights(cfg, build_model(alone)))


def main(args: argparse.Namespace) -> None:
    """Runs in every process."""
    cfg = setup(args)
    if args.eval_only:
        evaluate_only(cfg)
        return
    prepare_text_bank(cfg)
    with memory_advice(training_advice(cfg)):
        trainer = UDATrainer(cfg)
        trainer.resume_or_load(args.resume)
        trainer.train()
    check_expected_results(cfg, trainer.results)


def argument_parser() -> argparse.ArgumentParser:
    """detectron2's usual flags."""
    parser = default_argument_parser()
    # its default is a fixed port, which a second run on the machine could not open
    parser.set_defaults(dist_url="auto")
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
