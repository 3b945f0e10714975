"""Intersection over union from a confusion matrix."""

from collections.abc import Sequence

import numpy as np


def iou_from_confusion(
    matrix: np.ndarray, classes: Sequence[int] | None = None
) -> tuple[np.ndarray, float]:
    """IoU per class and its mean.

    IoU_c = I_c / (P_c + L_c - I_c); a class with an empty union is NaN and left out of the mean, a
    class that is present but never predicted scores 0.

    Args:
        matrix: (K, K) pixel counts; whether rows are predictions or labels does not matter.
        classes: the classes in the mean; ``None`` = all K.
    Returns:
        (K,) float64 with NaN where absent, and the mean over ``classes`` (NaN if none of them
        occurs), fractions.
    Raises:
        ValueError: if the matrix is not square or a class lies outside it.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"a confusion matrix is square, not {counts.shape}")
    chosen = np.arange(len(counts)) if classes is None else np.asarray(classes, dtype=int)
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(counts)):
        raise ValueError(f"classes {chosen.tolist()} do not fit a matrix of {len(counts)} classes")
    hits = counts.diagonal()
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    iou = np.divide(hits, union, out=np.full(len(counts), np.nan), where=union > 0)
    present = iou[chosen][~np.isnan(iou[chosen])]
    return iou, float(present.mean()) if len(present) else float("nan")


def confusion_scores(
    matrix: np.ndarray, class_names: Sequence[str], classes: Sequence[int]
) -> dict[str, float]:
    """Everything that is reported of one confusion matrix.

    Args:
        matrix: (K, K) pixel counts, rows = labels, columns = predictions.
        class_names: K names.
        classes: the classes in the mean.
    Returns:
        mIoU, aAcc, IoU-<class> and Acc-<class> in percent, NaN where nothing occurs (aAcc: 0).
    """
    iou, mean = iou_from_confusion(matrix, classes)
    labelled, hits = matrix.sum(axis=1), matrix.diagonal()
    accuracy = np.divide(hits, labelled, out=np.full(len(iou), np.nan), where=labelled > 0)
    scores = {"mIoU": 100 * mean, "aAcc": 100 * hits.sum() / max(labelled.sum(), 1)}
    for name, class_iou, class_accuracy in zip(class_names, iou, accuracy, strict=True):
        scores[f"IoU-{name}"] = 100 * float(class_iou)
        scores[f"Acc-{name}"] = 100 * float(class_accuracy)
    return scores
