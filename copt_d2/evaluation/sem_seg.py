"""detectron2's semantic segmentation evaluator with the metric of the UDA literature."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from torch import Tensor

from ..errors import InputError
from .arg_max import predicted_classes
from .metrics import confusion_scores, iou_from_confusion

NO_CONDITION = ""


class IoUEvaluator(SemSegEvaluator):
    """One confusion matrix over the data set; per-class IoU and accuracy, mean over the data set's
    classes. Where the data set's dicts name a ``condition``, the same for each condition.

    detectron2's own averages over the classes of the labels; here a class counts as soon as it is
    labelled or predicted on a labelled pixel.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        sem_seg_loading_fn: Callable[[str], np.ndarray],
        classes: Sequence[int] = (),
        subsets: Mapping[str, Sequence[int]] | None = None,
        distributed: bool = True,
    ) -> None:
        """Args:
        dataset_name: a registered data set with labels.
        sem_seg_loading_fn: label file -> (H, W) train ids, 255 = ignored.
        classes: train ids in the mean; empty = the data set's ``evaluation_classes``.
        subsets: train ids of further means, by their names.
        distributed: adds up the matrices of all processes.
        """
        super().__init__(dataset_name, distributed, sem_seg_loading_fn=sem_seg_loading_fn)
        metadata = MetadataCatalog.get(dataset_name)
        self._classes = list(classes) or list(metadata.evaluation_classes)
        self._subsets = dict(subsets or {})
        self._conditions = {
            entry["file_name"]: entry.get("condition", NO_CONDITION)
            for entry in DatasetCatalog.get(dataset_name)
        }

    def reset(self) -> None:
        """Forgets all images."""
        self._matrices: dict[str, np.ndarray] = {}  # of each condition
        self._images: Counter[str] = Counter()

    def process(
        self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Tensor]]
    ) -> None:
        """Counts the pixels of a batch: rows = labels, columns = predictions.

        Raises:
            InputError: if a label file has another size than the prediction, or that is not finite.
        """
        shape = self._num_classes, self._num_classes
        for sample, output in zip(inputs, outputs, strict=True):
            prediction = predicted_classes(output["sem_seg"], sample["file_name"]).cpu().numpy()
            file = self.input_file_to_gt_file[sample["file_name"]]
            labels = self.sem_seg_loading_fn(file).astype(np.int64)
            if labels.shape != prediction.shape:
                raise InputError(
                    f"label {file} is {labels.shape[1]}x{labels.shape[0]} pixels, its image "
                    f"{sample['file_name']} {prediction.shape[1]}x{prediction.shape[0]}"
                )
            counted = labels < self._num_classes
            pairs = self._num_classes * labels[counted] + prediction[counted]
            matrix = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
            condition = self._conditions[sample["file_name"]]
            self._matrices[condition] = self._matrices.get(condition, 0) + matrix
            self._images[condition] += 1

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Scores in percent; rank 0 only.

        Returns:
            ``sem_seg``: mIoU, aAcc, IoU-<class>, Acc-<class>, mIoU-<subset>, mIoU-<condition> and
            ``images``. Where there are any, ``means`` and ``means_cover``: the mean of each
            subset, and how many of its classes occur; ``conditions``: the scores and ``images`` of
            each condition.
        """
        matrices, images = self._matrices, self._images
        if self._distributed:
            comm.synchronize()
            gathered = comm.gather((matrices, images))
            if not comm.is_main_process():
                return None
            matrices = _sums([part for part, _ in gathered])
            images = sum((count for _, count in gathered), Counter())
        # pixels of all conditions together, which is not the mean of the conditions
        pooled = sum(matrices.values(), np.zeros((self._num_classes, self._num_classes), np.int64))
        scores = self._scores(pooled, images.total())
        subsets = {n: iou_from_confusion(pooled, classes) for n, classes in self._subsets.items()}
        means = {name: 100 * mean for name, (_, mean) in subsets.items()}
        cover = {
            name: int(np.isfinite(iou[list(self._subsets[name])]).sum())
            for name, (iou, _) in subsets.items()
        }
        conditions = {
            condition: self._scores(matrices[condition], images[condition])
            for condition in sorted(matrices.keys() - {NO_CONDITION})
        }
        scores |= {f"mIoU-{name}": mean for name, mean in means.items()}
        scores |= {f"mIoU-{name}": part["mIoU"] for name, part in conditions.items()}
        results = OrderedDict(sem_seg=scores, means=means, means_cover=cover, conditions=conditions)
        return OrderedDict((key, value) for key, value in results.items() if value)

    def _scores(self, matrix: np.ndarray, images: int) -> dict[str, Any]:
        scores = confusion_scores(matrix, self._class_names, self._classes)
        return {**scores, "images": images}


def _sums(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Matrix of each condition, added up over the processes."""
    conditions = {condition for part in parts for condition in part}
    return {
        condition: sum(part[condition] for part in parts if condition in part)
        for condition in conditions
    }
