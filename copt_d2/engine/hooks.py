"""What happens around a training step."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
)
from torch import Tensor

from ..evaluation.pictures import colour_map
from .files import replace_text


class TeacherUpdate(HookBase):
    """Moves the teacher towards the student before each step."""

    def before_step(self) -> None:
        """Iteration 0 copies the student."""
        model = self.trainer.model
        if model.teacher is not None:
            model.teacher.update(model.student, self.trainer.iter)


def is_due(done: int, max_iter: int, periods: Sequence[int]) -> bool:
    """Whether ``done`` steps are a multiple of one of ``periods`` (0 = none), or all steps."""
    return done == max_iter or any(period > 0 and done % period == 0 for period in periods)


class Periodic(HookBase):
    """Calls a function after every ``period`` steps and after the last one."""

    def __init__(self, period: int, function: Callable[[], None]) -> None:
        self.period = period
        self.function = function

    def after_step(self) -> None:
        """Counts steps from 1."""
        if is_due(self.trainer.iter + 1, self.trainer.max_iter, [self.period]):
            self.function()


def build_writers(folder: str, max_iter: int, start: int) -> list[EventWriter]:
    """The log's lines, metrics.json and TensorBoard, for a run that goes on at ``start``."""
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(str(Path(folder) / "metrics.json")),
        # what a killed run has shown beyond its last checkpoint is hidden
        TensorboardXWriter(folder, purge_step=start),
    ]


class WriteEvents(PeriodicWriter):
    """Writes after all steps that have something to say, so that a kill loses no line of them."""

    def __init__(self, writers: Sequence[EventWriter], periods: Sequence[int]) -> None:
        """Args:
        writers: of metrics.json, TensorBoard, the log.
        periods: of losses and of evaluations, in steps.
        """
        super().__init__(list(writers))
        self.periods = periods

    def after_step(self) -> None:
        """Counts steps from 1."""
        if is_due(self.trainer.iter + 1, self.trainer.max_iter, self.periods):
            for writer in self._writers:
                writer.write()


class ImageLogger(HookBase):
    """Shows a source image with its labels and a target image with the teacher's labels in
    TensorBoard.

    One process does it alone, so it must not call what waits for the others; and it must leave
    everything as it was, so that a run without pictures or a resumed one stays equal.
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

    def _teacher_labels(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, H, W); the statistics of the teacher's batch norms stay."""
        teacher = self.trainer.model.teacher
        before = {name: value.clone() for name, value in teacher.named_buffers()}
        labels = teacher.predict(images).argmax(dim=1)
        for name, value in teacher.named_buffers():
            value.copy_(before[name])
        return labels

    @torch.no_grad()
    def after_step(self) -> None:
        """Uses the batch of the step."""
        if self.period == 0 or (self.trainer.iter + 1) % self.period:
            return
        source, target = self.trainer.last_batch
        self._put("source", source.images[0], source.labels[0])
        if self.trainer.model.teacher is not None:
            labels = self._teacher_labels(target.images)
            self._put("target_pseudo_labels", target.images[0], labels[0])


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


def cut_metrics(path: Path, start: int) -> None:
    """Removes from a metrics.json what a run resumed at iteration ``start`` writes again."""
    if not path.exists():
        return
    kept = drop_later_lines(path.read_text().splitlines(), start)
    replace_text(path, "".join(line + "\n" for line in kept))
