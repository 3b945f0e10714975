"""Per-class IoU over one confusion matrix per data set."""

from .metrics import iou_from_confusion
from .sem_seg import IoUEvaluator

__all__ = ["IoUEvaluator", "iou_from_confusion"]
