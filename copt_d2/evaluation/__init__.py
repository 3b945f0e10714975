"""Per-class IoU over one confusion matrix per data set, and predictions as files."""

from .export import Exporter
from .metrics import iou_from_confusion
from .sem_seg import IoUEvaluator

__all__ = ["Exporter", "IoUEvaluator", "iou_from_confusion"]
