"""The record of an evaluation: what was evaluated, on what, and the scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.layouts import data_root
from ..evaluation.record import Record, score_fields, with_left_out
from ..installation import code_version
from .evaluation_place import EvaluatedWeights

SCENES_MARKER = "scenes.json"  # copt_d2/scenes leaves it in the folder of each data set it writes


def is_labelled(files: Sequence[dict[str, Any]]) -> bool:
    """Whether there is a label file for each image (``check_config`` refuses half of them)."""
    return all("sem_seg_file_name" in entry for entry in files)


def _uses_generated_scenes(cfg: CfgNode, files: Sequence[dict[str, Any]]) -> bool:
    """Whether the evaluated images, or a data set of the training, are of tools/make_scenes.py.

    Generated data sets have the names of the real ones. What tells them apart is a file in the
    data set's folder.
    """
    root = data_root()
    image = Path(files[0]["file_name"])
    folders = {image.relative_to(root).parts[0]} if image.is_relative_to(root) else set()
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TARGET):
        folder = MetadataCatalog.get(name).get("folder")
        folders |= {folder} if folder else set()
    return any((root / folder / SCENES_MARKER).is_file() for folder in folders)


def build_record(
    cfg: CfgNode, name: str, results: dict[str, Any] | None, weights: EvaluatedWeights
) -> Record:
    """The evaluation record.

    Args:
        cfg: the whole config.
        name: the data set.
        results: of its `IoUEvaluator`; ``None`` = it has no labels.
        weights: what was evaluated.
    """
    metadata, files = MetadataCatalog.get(name), DatasetCatalog.get(name)
    classes = list(cfg.TEST.CLASSES) or list(metadata.evaluation_classes)
    record = {
        "dataset": name,
        "split": name.rsplit("_", 1)[-1],
        "generated_scenes": _uses_generated_scenes(cfg, files),
        "classes_in_mean": [metadata.stuff_classes[c] for c in classes],
        "checkpoint": weights.path,
        "iteration": weights.iteration,
        "weights": weights.fields(),
        **score_fields(results, metadata.stuff_classes),
        "class_names": list(metadata.stuff_classes),
        "images": len(files),
        "seed": cfg.SEED,
        "commit": code_version(),
    }
    return with_left_out(record)
