"""Evaluation of a model on the test data sets, with a record and pictures."""

import json
import logging
import subprocess
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from detectron2.utils import comm
from torch import Tensor, nn

from ..data import build_uda_test_loader
from ..data.label_spaces import (
    CITYSCAPES_13,
    CITYSCAPES_16,
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
)
from ..data.layouts import data_root
from ..data.reading import read_image, read_train_ids
from ..errors import InputError
from ..evaluation import Exporter, IoUEvaluator
from ..evaluation.pictures import prediction_sheet
from ..evaluation.record import Record, format_table, score_fields
from ..files import replace_text

logger = logging.getLogger("copt_d2.evaluate")

SCENES_MARKER = "scenes.json"  # copt_d2/scenes leaves it in the folder of each data set it writes
# means over Cityscapes' classes that the literature reports
CITYSCAPES_SUBSETS = {
    "19": tuple(range(len(CITYSCAPES_CLASSES))),
    "16": CITYSCAPES_16,
    "13": CITYSCAPES_13,
}


class PictureKeeper(DatasetEvaluator):
    """Keeps the predictions of some images, spread over the data set, for a sheet."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = set(files)

    def reset(self) -> None:
        """Forgets all predictions."""
        self.predictions: dict[str, np.ndarray] = {}

    def process(
        self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Tensor]]
    ) -> None:
        """Keeps arg-max maps, (H, W) uint8, of the chosen images."""
        for sample, output in zip(inputs, outputs, strict=True):
            if sample["file_name"] in self.files:
                prediction = output["sem_seg"].argmax(dim=0).byte().cpu().numpy()
                self.predictions[sample["file_name"]] = prediction

    def evaluate(self) -> None:
        """Collects what other processes kept."""
        for part in comm.all_gather(self.predictions):
            self.predictions.update(part)


def _commit() -> str | None:
    """The commit of this checkout, or ``None`` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _is_labelled(files: Sequence[dict[str, Any]]) -> bool:
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


def _record(cfg: CfgNode, name: str, results: dict[str, Any] | None, **origin: Any) -> Record:
    """The evaluation record; ``origin``: iteration and checkpoint."""
    metadata, files = MetadataCatalog.get(name), DatasetCatalog.get(name)
    classes = list(cfg.TEST.CLASSES) or list(metadata.evaluation_classes)
    return {
        "dataset": name,
        "split": name.rsplit("_", 1)[-1],
        "generated_scenes": _uses_generated_scenes(cfg, files),
        "classes_in_mean": [metadata.stuff_classes[c] for c in classes],
        **origin,
        **score_fields(results, metadata.stuff_classes),
        "class_names": list(metadata.stuff_classes),
        "images": len(files),
        "seed": cfg.SEED,
        "commit": _commit(),
    }


def _write_sheet(cfg: CfgNode, name: str, keeper: PictureKeeper, folder: Path) -> Path:
    metadata, files = MetadataCatalog.get(name), DatasetCatalog.get(name)
    table = np.asarray(metadata.label_table, dtype=np.uint8)
    labelled = _is_labelled(files)
    titles = ["image", "prediction", *(["ground truth"] if labelled else [])]

    def rows() -> Iterator[list[np.ndarray]]:
        for entry in files:
            if entry["file_name"] in keeper.predictions:
                row = [read_image(entry["file_name"]), keeper.predictions[entry["file_name"]]]
                if labelled:
                    row.append(read_train_ids(entry["sem_seg_file_name"], table))
                yield row

    sheet = prediction_sheet(rows(), titles, metadata.stuff_classes, metadata.stuff_colors)
    path = folder / f"{name}.png"
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise InputError(f"{path} cannot be written: free space there, or set TEST.PICTURES to 0")
    return path


def _build_keeper(cfg: CfgNode, files: Sequence[dict[str, Any]]) -> PictureKeeper:
    shown = np.linspace(0, len(files) - 1, min(cfg.TEST.PICTURES, len(files)), dtype=int)
    return PictureKeeper([files[index]["file_name"] for index in shown])


def _build_scorer(cfg: CfgNode, name: str) -> IoUEvaluator:
    metadata = MetadataCatalog.get(name)
    table = np.asarray(metadata.label_table, dtype=np.uint8)
    is_cityscapes = tuple(metadata.stuff_classes) == CITYSCAPES_CLASSES
    return IoUEvaluator(
        name,
        sem_seg_loading_fn=lambda file: read_train_ids(file, table),
        classes=cfg.TEST.CLASSES,
        subsets=CITYSCAPES_SUBSETS if is_cityscapes else {},
    )


def _build_exporter(cfg: CfgNode, name: str, files: Sequence[dict[str, Any]]) -> Exporter:
    return Exporter(
        Path(cfg.OUTPUT_DIR) / "export" / name,
        cfg.TEST.EXPORT,
        image_files=[entry["file_name"] for entry in files],
        palette=MetadataCatalog.get(name).stuff_colors,
        label_ids=CITYSCAPES_IDS,
    )


def evaluate_dataset(
    cfg: CfgNode,
    model: nn.Module,
    name: str,
    iteration: int | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Scores of one data set; rank 0 writes OUTPUT_DIR/evaluation/<name>.json and .png, all write
    what TEST.EXPORT names. Other ranks return {}, as all do for a data set without labels.
    """
    files = DatasetCatalog.get(name)
    keeper = _build_keeper(cfg, files)
    evaluators: list[DatasetEvaluator] = [keeper]
    if _is_labelled(files):
        evaluators.append(_build_scorer(cfg, name))
    if cfg.TEST.EXPORT:
        evaluators.append(_build_exporter(cfg, name, files))
    loader = build_uda_test_loader(cfg, name)
    results = inference_on_dataset(model, loader, DatasetEvaluators(evaluators)) or None
    if not comm.is_main_process():
        return {}
    record = _record(cfg, name, results, checkpoint=checkpoint, iteration=iteration)
    folder = Path(cfg.OUTPUT_DIR) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    if record["labelled"]:
        logger.info("%s:\n%s", name, format_table(record))
    else:
        logger.info("%s has no labels: %d images predicted, no score", name, len(files))
    if cfg.TEST.EXPORT:
        logger.info("predictions: %s", Path(cfg.OUTPUT_DIR) / "export" / name)
    if cfg.TEST.PICTURES:
        logger.info("pictures: %s", _write_sheet(cfg, name, keeper, folder))
    return results["sem_seg"] if results else {}


@contextmanager
def _buffers_of_rank_0(model: nn.Module) -> Iterator[None]:
    """Inside, all processes have the batch norm statistics that the checkpoint has; then their
    own.
    """
    if comm.get_world_size() == 1:
        yield
        return
    buffers = [buffer for _, buffer in sorted(model.named_buffers())]
    own = [buffer.clone() for buffer in buffers]
    for buffer in buffers:
        dist.broadcast(buffer, src=0)
    try:
        yield
    finally:
        for buffer, value in zip(buffers, own, strict=True):
            buffer.copy_(value)


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    iteration: int | None = None,
    checkpoint: str | None = None,
) -> OrderedDict[str, dict[str, float]]:
    """Evaluates on every data set of DATASETS.TEST.

    Args:
        cfg: the whole config.
        model: takes and returns what detectron2's meta-architectures do.
        iteration: number of training steps, for the record.
        checkpoint: file that holds the evaluated weights, for the record.
    Returns:
        {data set: {"mIoU": percent, ...}} without classes that do not occur; empty dicts but on
        rank 0.
    """
    results = OrderedDict()
    with _buffers_of_rank_0(model):
        for name in cfg.DATASETS.TEST:
            scores = evaluate_dataset(cfg, model, name, iteration, checkpoint)
            results[name] = {key: value for key, value in scores.items() if not np.isnan(value)}
    return results


def check_expected_results(cfg: CfgNode, results: Mapping[str, Mapping[str, float]]) -> None:
    """Compares scores with TEST.EXPECTED_RESULTS, rows of (data set, key, value, tolerance).

    Raises:
        InputError: on rank 0, naming all rows that are not met.
    """
    if not comm.is_main_process():
        return
    wrong = []
    for name, key, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results.get(name, {}).get(key, float("nan"))
        if not abs(actual - expected) <= tolerance:  # NaN is wrong too
            wrong.append(f"{name} {key} is {actual:.2f}, not {expected} +- {tolerance}")
    if wrong:
        raise InputError(f"TEST.EXPECTED_RESULTS: {'; '.join(wrong)}")
    if cfg.TEST.EXPECTED_RESULTS:
        logger.info("the results are as TEST.EXPECTED_RESULTS says")
