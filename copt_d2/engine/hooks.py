"""What happens around a training step."""

import itertools
import logging
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from ..data import build_uda_train_loader
from ..evaluation.pictures import colour_map
from .metrics import is_due
from .processes import average_over_processes
from .random_state import kept_random_state

logger = logging.getLogger("copt_d2.trainer")
_WARM_STEPS, _MEASURED_STEPS = 5, 20


class TeacherUpdate(HookBase):
    """Moves the teacher towards the student before each step."""

    def before_step(self) -> None:
        """Iteration 0 copies the student."""
        model = self.trainer.model
        if model.teacher is not None:
            model.teacher.update(model.student, self.trainer.iter)


class Periodic(HookBase):
    """Calls a function after every ``period`` steps (0: never) and after the last one."""

    def __init__(self, period: int, function: Callable[[], None]) -> None:
        self.period = period
        self.function = function

    def after_step(self) -> None:
        """Counts steps from 1."""
        if is_due(self.trainer.iter + 1, self.trainer.max_iter, [self.period]):
            self.function()


class ExpectedDuration(HookBase):
    """Says after some steps how long the training will take."""

    def after_step(self) -> None:
        """Measures steps 6 to 20 of this process: the first ones are slower."""
        trainer = self.trainer
        done, left = trainer.iter + 1 - trainer.start_iter, trainer.max_iter - trainer.iter - 1
        if done == _WARM_STEPS:
            self._since = time.perf_counter()
        if done == _MEASURED_STEPS and left > 0:
            step = (time.perf_counter() - self._since) / (_MEASURED_STEPS - _WARM_STEPS)
            logger.info(
                "%.2f s a step: the %d steps left will take about %s, evaluations not counted",
                *(step, left, timedelta(seconds=round(step * left))),
            )


class PreciseBN(HookBase):
    """After the last step, gives the student's batch norms the statistics of undisturbed images.

    During training the running statistics follow mixed and masked images, too. This replaces them
    by the means over ``num_iter`` batches of the domain that the model is meant for: target images
    if it adapts, else source images (Wu and Johnson, "Rethinking Batch in BatchNorm", Section 3).
    """

    def __init__(self, num_iter: int) -> None:
        self.num_iter = num_iter

    @torch.no_grad()
    def after_step(self) -> None:
        """Only where BatchNorm is in training mode; frozen ones keep theirs."""
        trainer = self.trainer
        if trainer.iter + 1 < trainer.max_iter:
            return
        student = trainer.model.student
        norms = [m for m in student.modules() if isinstance(m, _BatchNorm) and m.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's cumulative mean
        domain = 0 if trainer.model.teacher is None else 1
        cfg = trainer.cfg.clone()
        cfg.DATALOADER.NUM_WORKERS = 0
        with kept_random_state():
            batches = itertools.islice(build_uda_train_loader(cfg, tell=False), self.num_iter)
            for batch in tqdm(batches, "batch norms", self.num_iter, disable=None):
                student(trainer.model.preprocess(batch)[domain].images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            average_over_processes([norm.running_mean, norm.running_var])


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
