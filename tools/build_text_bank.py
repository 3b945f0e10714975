"""Makes the text bank of a config: every class in every template, encoded and averaged.

python tools/build_text_bank.py --config-file configs/camvid_day2dusk.yaml --out bank.safetensors
[--show]
"""

import argparse
import sys
from pathlib import Path

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from copt_d2.class_names import ClassEntry, synonyms_of
from copt_d2.data.datasets import require_registered
from copt_d2.engine import load_config
from copt_d2.engine.class_checks import check_class_names
from copt_d2.errors import InputError
from copt_d2.text import make_text_bank
from copt_d2.text.similarity import draw_similarity, similarity_table


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--config-file", required=True, metavar="F", help="config with the keys MODEL.COPT.*"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    parser.add_argument(
        "--show",
        action="store_true",
        help="print how similar the classes are to each other and draw it beside FILE",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides of config keys"
    )
    return parser


def config_class_names(cfg: CfgNode) -> list[ClassEntry]:
    """``MODEL.COPT.CLASS_NAMES``, or the class names of the first source data set."""
    return list(cfg.MODEL.COPT.CLASS_NAMES) or data_set_class_names(cfg)


def data_set_class_names(cfg: CfgNode) -> list[str]:
    """The class names of the first source data set; [] without one where the config has its own."""
    own = bool(cfg.MODEL.COPT.CLASS_NAMES)
    if own and (not cfg.DATASETS.TRAIN or cfg.DATASETS.TRAIN[0] not in MetadataCatalog):
        return []
    if not cfg.DATASETS.TRAIN:
        raise InputError(
            "no class names: set MODEL.COPT.CLASS_NAMES or DATASETS.TRAIN in the config"
        )
    name = cfg.DATASETS.TRAIN[0]
    # `get` would register an unknown name
    if name not in MetadataCatalog or not MetadataCatalog.get(name).get("stuff_classes"):
        require_registered("DATASETS.TRAIN", name)
    return list(MetadataCatalog.get(name).stuff_classes)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    args = build_parser().parse_args(arguments)
    try:
        cfg = load_config(args.config_file, args.opts)
        check_class_names(cfg)
        class_names = config_class_names(cfg)
        picture = Path(args.out).with_suffix(".png")
        if args.show and picture == Path(args.out):
            raise InputError(f"--out {args.out} is where --show draws: choose another ending")
        bank = make_text_bank(cfg, data_set_class_names(cfg), args.out)
        names = [synonyms_of(entry)[0] for entry in class_names]
        if args.show:
            draw_similarity(bank, names, picture)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {args.out}: {bank.shape[0]} classes, {bank.shape[1]} dimensions")
    if args.show:
        print(similarity_table(bank, names))
        print(f"drawn in {picture}")


if __name__ == "__main__":
    main()
