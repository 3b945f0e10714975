"""Trains or evaluates what a config describes.

python tools/train_net.py --config-file configs/camvid_day2dusk.yaml [--eval-only] [--resume]
[--num-gpus N] [KEY VALUE ...]
"""

import argparse
import logging
import random
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from copt_d2.engine import (
    TrainingCheckpointer,
    UDATrainer,
    evaluate,
    launch,
    load_config,
    load_student_weights,
)
from copt_d2.errors import InputError
from copt_d2.text import ensure_text_bank


def check_datasets(cfg: CfgNode) -> None:
    """Lists every data set of the config once, so that a missing one ends before any work."""
    known = set(DatasetCatalog.list())
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TARGET, *cfg.DATASETS.TEST):
        if name not in known:
            ours = sorted(n for n in known if MetadataCatalog.get(n).get("label_table") is not None)
            raise InputError(f"no data set {name!r} is registered; there are {', '.join(ours)}")
        DatasetCatalog.get(name)


def prepare_text_bank(cfg: CfgNode) -> None:
    """Makes the text bank of the class names when CoPT is trained and it is missing."""
    if "CoPTLoss" not in cfg.MODEL.UDA.FEATURE_LOSSES:
        return
    names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
    if comm.is_main_process():
        ensure_text_bank(cfg, names)
    comm.synchronize()
    cfg.MODEL.COPT.TEXT_BANK = str(ensure_text_bank(cfg, names))


def setup(args: argparse.Namespace) -> CfgNode:
    """Config, output folder, logs and seeds of this process."""
    cfg = load_config(args.config_file, args.opts)
    if cfg.SEED < 0:
        cfg.SEED = comm.all_gather(random.SystemRandom().randrange(2**31))[0]
    check_datasets(cfg)
    folder = Path(cfg.OUTPUT_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if comm.is_main_process():
            (folder / "config.yaml").write_text(cfg.dump())
    except OSError as error:
        raise InputError(f"OUTPUT_DIR {folder}: {error.strerror}") from error
    for name in ("copt_d2", "detectron2", "fvcore"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name)
    logging.getLogger("copt_d2").info(
        "%s on %s, torch %s, seed %d; the whole config is in %s",
        *(args.config_file, cfg.MODEL.DEVICE, torch.__version__, cfg.SEED, folder / "config.yaml"),
    )
    seed_all_rng(cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    return cfg


def main(args: argparse.Namespace) -> None:
    """Runs in every process."""
    cfg = setup(args)
    if args.eval_only:
        cfg.MODEL.UDA.FEATURE_LOSSES = ()
        cfg.MODEL.UDA.PHASES = ("source",)
        if not cfg.MODEL.WEIGHTS:
            files = TrainingCheckpointer(cfg.OUTPUT_DIR).files()
            if not files:
                raise InputError(
                    "--eval-only needs MODEL.WEIGHTS FILE, or a checkpoint in OUTPUT_DIR"
                )
            cfg.MODEL.WEIGHTS = str(files[0])
        model = build_model(cfg)
        load_student_weights(model.student, cfg.MODEL.WEIGHTS)
        evaluate(cfg, model.eval())
        return
    prepare_text_bank(cfg)
    trainer = UDATrainer(cfg)
    trainer.resume_or_load(args.resume)
    trainer.train()


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    launch(
        main,
        num_gpus=arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
