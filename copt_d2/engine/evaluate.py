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
from tabulate import tabulate
from torch import Tensor, nn

from ..data import build_uda_test_loader
from ..data.reading import read_image, read_train_ids
from ..errors import InputError
from ..evaluation import IoUEvaluator
from ..evaluation.pictures import prediction_sheet
from .files import replace_text

logger = logging.getLogger("copt_d2.evaluate")


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


def _record(
    cfg: CfgNode, name: str, scores: dict[str, Any], iteration: int | None, checkpoint: str | None
) -> dict[str, Any]:
    """The evaluation record: plain values, null where a class does not occur."""
    metadata = MetadataCatalog.get(name)
    classes = list(cfg.TEST.CLASSES) or list(metadata.evaluation_classes)

    def number(value: float) -> float | None:
        return None if np.isnan(value) else round(float(value), 4)

    return {
        "dataset": name,
        "split": name.rsplit("_", 1)[-1],
        "classes_in_mean": [metadata.stuff_classes[c] for c in classes],
        "checkpoint": checkpoint,
        "iteration": iteration,
        "mIoU": number(scores["mIoU"]),
        "aAcc": number(scores["aAcc"]),
        "IoU": {c: number(scores[f"IoU-{c}"]) for c in metadata.stuff_classes},
        "Acc": {c: number(scores[f"Acc-{c}"]) for c in metadata.stuff_classes},
        "class_names": list(metadata.stuff_classes),
        "images": scores["images"],
        "seed": cfg.SEED,
        "commit": _commit(),
    }


def format_table(record: dict) -> str:
    """Per-class IoU of one record as text, the mean last."""
    rows = [
        [
            name,
            "-" if iou is None else f"{iou:.1f}",
            "" if name in record["classes_in_mean"] else "no",
        ]
        for name, iou in record["IoU"].items()
    ]
    mean = "-" if record["mIoU"] is None else f"{record['mIoU']:.1f}"
    rows.append([f"mean of {len(record['classes_in_mean'])}", mean, ""])
    return tabulate(
        rows,
        headers=["class", "IoU %", "in mean"],
        colalign=("left", "right", "left"),
        disable_numparse=True,  # or it drops the zero of 50.0
    )


def _write_sheet(cfg: CfgNode, name: str, keeper: PictureKeeper, folder: Path) -> Path:
    metadata = MetadataCatalog.get(name)
    table = np.asarray(metadata.label_table, dtype=np.uint8)

    def rows() -> Iterator[list[np.ndarray]]:
        for entry in DatasetCatalog.get(name):
            if entry["file_name"] in keeper.predictions:
                labels = read_train_ids(entry["sem_seg_file_name"], table)
                prediction = keeper.predictions[entry["file_name"]]
                yield [read_image(entry["file_name"]), prediction, labels]

    sheet = prediction_sheet(
        rows(),
        ["image", "prediction", "ground truth"],
        metadata.stuff_classes,
        metadata.stuff_colors,
    )
    path = folder / f"{name}.png"
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise InputError(f"{path} cannot be written: free space there, or set TEST.PICTURES to 0")
    return path


def evaluate_dataset(
    cfg: CfgNode,
    model: nn.Module,
    name: str,
    iteration: int | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Scores of one data set; rank 0 writes OUTPUT_DIR/evaluation/<name>.json and .png. Others
    return {}.
    """
    table = np.asarray(MetadataCatalog.get(name).label_table, dtype=np.uint8)
    loader = build_uda_test_loader(cfg, name)
    files = [entry["file_name"] for entry in DatasetCatalog.get(name)]
    shown = np.linspace(0, len(files) - 1, min(cfg.TEST.PICTURES, len(files)), dtype=int)
    keeper = PictureKeeper([files[index] for index in shown])
    scorer = IoUEvaluator(
        name,
        sem_seg_loading_fn=lambda file: read_train_ids(file, table),
        classes=cfg.TEST.CLASSES,
    )
    scores = inference_on_dataset(model, loader, DatasetEvaluators([scorer, keeper]))
    if not comm.is_main_process():
        return {}
    record = _record(cfg, name, scores["sem_seg"], iteration, checkpoint)
    folder = Path(cfg.OUTPUT_DIR) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    logger.info("%s:\n%s", name, format_table(record))
    if cfg.TEST.PICTURES:
        logger.info("pictures: %s", _write_sheet(cfg, name, keeper, folder))
    return scores["sem_seg"]


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
