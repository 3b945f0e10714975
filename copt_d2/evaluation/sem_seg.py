"""detectron2's semantic segmentation evaluator with the metric of the UDA literature."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from torch import Tensor

from ..errors import InputError
from .metrics import iou_from_confusion


class IoUEvaluator(SemSegEvaluator):
    """One confusion matrix over the data set; per-class IoU and accuracy, mean over the data set's
    classes.

    detectron2's own averages over the classes of the labels; here a class counts as soon as it is
    labelled or predicted on a labelled pixel.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        sem_seg_loading_fn: Callable[[str], np.ndarray],
        classes: Sequence[int] = (),
        distributed: bool = True,
    ) -> None:
        """Args:
        dataset_name: a registered data set with labels.
        sem_seg_loading_fn: label file -> (H, W) train ids, 255 = ignored.
        classes: train ids in the mean; empty = the data set's ``evaluation_classes``.
        distributed: adds up the matrices of all processes.
        """
        super().__init__(dataset_name, distributed, sem_seg_loading_fn=sem_seg_loading_fn)
        metadata = MetadataCatalog.get(dataset_name)
        self._classes = list(classes) or list(metadata.evaluation_classes)
        self._images = 0

    def reset(self) -> None:
        """Forgets all images."""
        self._matrix = np.zeros((self._num_classes, self._num_classes), dtype=np.int64)
        self._images = 0

    def process(
        self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Tensor]]
    ) -> None:
        """Counts the pixels of a batch: rows = labels, columns = predictions.

        Raises:
            InputError: if a label file has another size than the prediction.
        """
        for sample, output in zip(inputs, outputs, strict=True):
            prediction = output["sem_seg"].argmax(dim=0).cpu().numpy()
            file = self.input_file_to_gt_file[sample["file_name"]]
            labels = self.sem_seg_loading_fn(file).astype(np.int64)
            if labels.shape != prediction.shape:
                raise InputError(
                    f"label {file} is {labels.shape[1]}x{labels.shape[0]} pixels, its image "
                    f"{sample['file_name']} {prediction.shape[1]}x{prediction.shape[0]}"
                )
            counted = labels < self._num_classes
            pairs = self._num_classes * labels[counted] + prediction[counted]
            self._matrix += np.bincount(pairs, minlength=self._matrix.size).reshape(
                self._matrix.shape
            )
            self._images += 1

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """{"sem_seg": mIoU, aAcc, IoU-<class>, Acc-<class>} in percent and ``images``; rank 0
        only.
        """
        matrix, images = self._matrix, self._images
        if self._distributed:
            comm.synchronize()
            gathered = comm.gather((matrix, images))
            if not comm.is_main_process():
                return None
            matrix = sum(part for part, _ in gathered)
            images = sum(count for _, count in gathered)
        iou, mean = iou_from_confusion(matrix, self._classes)
        labelled = matrix.sum(axis=1)
        accuracy = np.divide(
            *(matrix.diagonal(), labelled), out=np.full(len(iou), np.nan), where=labelled > 0
        )
        scores = {"mIoU": 100 * mean, "aAcc": 100 * matrix.trace() / max(labelled.sum(), 1)}
        for name, class_iou, class_accuracy in zip(self._class_names, iou, accuracy, strict=True):
            scores[f"IoU-{name}"] = 100 * float(class_iou)
            scores[f"Acc-{name}"] = 100 * float(class_accuracy)
        return OrderedDict(sem_seg={**scores, "images": images})
