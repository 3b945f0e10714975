"""What happens around a training step."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from torch import Tensor

from ..evaluation.pictures import colour_map


class TeacherUpdate(HookBase):
    """Moves the teacher towards the student before each step."""

    def before_step(self) -> None:
        """Iteration 0 copies the student."""
        model = self.trainer.model
        if model.teacher is not None:
            model.teacher.update(model.student, self.trainer.iter)


class Periodic(HookBase):
    """Calls a function after every ``period`` steps and after the last one."""

    def __init__(self, period: int, function: Callable[[], None]) -> None:
        self.period = period
        self.function = function

    def after_step(self) -> None:
        """Counts steps from 1."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self.period > 0 and done % self.period == 0):
            self.function()


class ImageLogger(HookBase):
    """Shows a source image with its labels and a target image with its pseudo-labels in
    TensorBoard.
    """

    def __init__(self, period: int, dataset_name: str) -> None:
        self.period = period
        self.palette = MetadataCatalog.get(dataset_name).stuff_colors

    def _put(self, name: str, image: Tensor, labels: Tensor) -> None:
        preprocessor = self.trainer.model.preprocessor
        pixels = (image * preprocessor.std + preprocessor.mean).clamp(0, 255)
        pixels = pixels.byte().permute(1, 2, 0).cpu().numpy()
        colours = colour_map(labels.byte().cpu().numpy(), self.palette)
        picture = np.hstack([pixels, colours]).transpose(2, 0, 1)
        self.trainer.storage.put_image(name, np.ascontiguousarray(picture))

    @torch.no_grad()
    def after_step(self) -> None:
        """Uses the batch of the step; consumes no random numbers, so that a resumed run stays
        equal.
        """
        if self.period == 0 or (self.trainer.iter + 1) % self.period:
            return
        source, target = self.trainer.last_batch
        self._put("source", source.images[0], source.labels[0])
        teacher = self.trainer.model.teacher
        if teacher is not None:
            pseudo = teacher.pseudo_labels(target)
            self._put("target_pseudo_labels", target.images[0], pseudo.labels[0])


def drop_later_lines(lines: Sequence[str], start: int) -> list[str]:
    """Lines of a metrics.json that a run resumed at iteration ``start`` will not write again."""
    kept = []
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # a kill can cut the last line
            continue
        if entry.get("iteration", -1) < start:
            kept.append(line)
    return kept
