"""Evaluation of a model on the test data sets, with a record and pictures."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
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

from ..checkpoint import tensors_digest
from ..data import build_uda_test_loader
from ..data.bit_depth import bit_depth
from ..data.label_spaces import (
    CITYSCAPES_13,
    CITYSCAPES_16,
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
)
from ..data.parallel import on_first_process
from ..data.reading import MAX_BITS, label_reader, read_image, read_train_ids
from ..errors import InputError
from ..evaluation import Exporter, IoUEvaluator
from ..evaluation.arg_max import predicted_classes
from ..evaluation.pictures import prediction_sheet
from ..evaluation.record import format_table, mean_in_words
from ..files import replace_bytes, replace_text
from .evaluation_place import EvaluatedWeights, Place, choose_place, own_place
from .evaluation_record import build_record, is_labelled
from .memory import evaluation_advice, memory_advice
from .student_weights import load_student_weights

logger = logging.getLogger("copt_d2.evaluate")

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
                classes = predicted_classes(output["sem_seg"], sample["file_name"])
                self.predictions[sample["file_name"]] = classes.byte().cpu().numpy()

    def evaluate(self) -> None:
        """Collects what other processes kept."""
        for part in comm.all_gather(self.predictions):
            self.predictions.update(part)


def _write_sheet(name: str, keeper: PictureKeeper, bits: int, folder: Path) -> Path:
    metadata, files = MetadataCatalog.get(name), DatasetCatalog.get(name)
    table = np.asarray(metadata.label_table, dtype=np.uint8)
    labelled = is_labelled(files)
    titles = ["image", "prediction", *(["ground truth"] if labelled else [])]

    def rows() -> Iterator[list[np.ndarray]]:
        for entry in files:
            if entry["file_name"] in keeper.predictions:
                row = [read_image(entry["file_name"], bits), keeper.predictions[entry["file_name"]]]
                if labelled:
                    row.append(read_train_ids(entry["sem_seg_file_name"], table))
                yield row

    sheet = prediction_sheet(rows(), titles, metadata.stuff_classes, metadata.stuff_colors)
    path = folder / f"{name}.png"
    _, content = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        replace_bytes(path, content.tobytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): free space there, or set TEST.PICTURES "
            "to 0"
        ) from error
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
        sem_seg_loading_fn=label_reader(DatasetCatalog.get(name), table),
        classes=cfg.TEST.CLASSES,
        subsets=CITYSCAPES_SUBSETS if is_cityscapes else {},
    )


def _build_exporter(
    cfg: CfgNode, name: str, files: Sequence[dict[str, Any]], folder: Path
) -> Exporter:
    return Exporter(
        folder,
        cfg.TEST.EXPORT,
        image_files=[entry["file_name"] for entry in files],
        palette=MetadataCatalog.get(name).stuff_colors,
        label_ids=CITYSCAPES_IDS,
    )


def evaluate_dataset(
    cfg: CfgNode, model: nn.Module, name: str, weights: EvaluatedWeights, place: Place
) -> dict[str, Any]:
    """Scores of one data set; rank 0 writes <name>.json and .png to ``place.records``, all write
    what TEST.EXPORT names to ``place.export``. Other ranks return {}, as all do for a data set
    without labels.
    """
    files = DatasetCatalog.get(name)
    keeper = _build_keeper(cfg, files)
    evaluators: list[DatasetEvaluator] = [keeper]
    if is_labelled(files):
        evaluators.append(_build_scorer(cfg, name))
    if cfg.TEST.EXPORT:
        evaluators.append(_build_exporter(cfg, name, files, place.export / name))
    # found by one process, in the cache for all
    bits = on_first_process(partial(bit_depth, cfg, name, files)) or MAX_BITS
    loader = build_uda_test_loader(cfg, name)
    results = inference_on_dataset(model, loader, DatasetEvaluators(evaluators)) or None
    if not comm.is_main_process():
        return {}
    record = build_record(cfg, name, results, weights)
    place.records.mkdir(parents=True, exist_ok=True)
    file = place.records / f"{name}.json"
    replace_text(file, json.dumps(record, indent=2) + "\n")
    if record["labelled"]:
        words = mean_in_words(record)
        logger.info("%s, record %s: %s\n%s", name, file, words, format_table(record))
    else:
        logger.info("%s has no labels: %d images predicted, no score", name, len(files))
    if cfg.TEST.EXPORT:
        logger.info("predictions: %s", place.export / name)
    if cfg.TEST.PICTURES:
        logger.info("pictures: %s", _write_sheet(name, keeper, bits, place.records))
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
    """Evaluates a model on every data set of DATASETS.TEST, as its training does.

    Args:
        cfg: the whole config.
        model: takes and returns what detectron2's meta-architectures do.
        iteration: number of training steps, for the record.
        checkpoint: file that holds the evaluated weights, for the record.
    Returns:
        {data set: {"mIoU": percent, ...}} without classes that do not occur; empty dicts but on
        rank 0.
    """
    with _buffers_of_rank_0(model):
        weights = _weights_of(model, checkpoint, iteration)
        return _evaluate_all(cfg, model, weights, own_place(Path(cfg.OUTPUT_DIR)))


def evaluate_weights(cfg: CfgNode, model: nn.Module) -> OrderedDict[str, dict[str, float]]:
    """Evaluates MODEL.WEIGHTS_PART of the file MODEL.WEIGHTS, as ``--eval-only`` does.

    The files go where `choose_place` says; the config is written there, too.

    Args:
        cfg: the whole config.
        model: with a ``student``, which gets the weights.
    Returns:
        See `evaluate`.
    Raises:
        InputError: if the weights cannot be read or do not fit.
    """
    path, part = cfg.MODEL.WEIGHTS, cfg.MODEL.WEIGHTS_PART
    iteration = load_student_weights(model.student, path, cfg, part=part)
    weights = _weights_of(model, path, iteration, part)
    place = own_place(Path(cfg.OUTPUT_DIR))
    if comm.is_main_process():
        place = choose_place(cfg, weights)
        place.config.parent.mkdir(parents=True, exist_ok=True)
        replace_text(place.config, cfg.dump())
    place = comm.all_gather(place)[0]
    return _evaluate_all(cfg, model.eval(), weights, place)


def _weights_of(
    model: nn.Module, path: str | None, iteration: int | None, part: str = "student"
) -> EvaluatedWeights:
    network = getattr(model, "student", model)
    digest = tensors_digest(network.state_dict()) if comm.is_main_process() else ""
    return EvaluatedWeights(path, digest, part, iteration)


def _evaluate_all(
    cfg: CfgNode, model: nn.Module, weights: EvaluatedWeights, place: Place
) -> OrderedDict[str, dict[str, float]]:
    results = OrderedDict()
    for name in cfg.DATASETS.TEST:
        with memory_advice(evaluation_advice(cfg)):
            scores = evaluate_dataset(cfg, model, name, weights, place)
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
