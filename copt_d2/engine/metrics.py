"""Where the numbers of a run are written: the log's lines, metrics.json and TensorBoard."""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
)

from ..files import is_utf8, replace_text

logger = logging.getLogger("copt_d2.metrics")

WINDOW = 20  # iterations over which times are smoothed (medians), in all places alike


def is_due(done: int, max_iter: int, periods: Sequence[int]) -> bool:
    """Whether ``done`` steps are a multiple of one of ``periods`` (0 = none), or all steps."""
    return done == max_iter or any(period > 0 and done % period == 0 for period in periods)


def values_of_step(storage: EventStorage) -> dict[str, float]:
    """What the current iteration adds to metrics.json."""
    latest = storage.latest_with_smoothing_hint(WINDOW)
    return {name: float(value) for name, (value, step) in latest.items() if step == storage.iter}


class LogWriter(CommonMetricPrinter):
    """The line of the log: the very numbers that metrics.json has. detectron2's shows medians of
    losses that are means already.
    """

    def __init__(self, max_iter: int) -> None:
        super().__init__(max_iter, WINDOW)

    def write(self) -> None:
        """One line; none after the last step, when there are only scores."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return
        eta = self._get_eta(storage)
        values = values_of_step(storage)
        parts = [f"eta: {eta}"] if eta else []
        parts.append(f"iter: {storage.iter}")
        parts += [f"{name}: {value:.4g}" for name, value in values.items() if "loss" in name]
        parts += [f"{n}: {values[n]:.4f}" for n in ("time", "data_time") if n in values]
        parts += [f"lr: {values['lr']:.5g}"] if "lr" in values else []
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self.logger.info("  ".join(parts))


def build_writers(folder: str, max_iter: int, start: int) -> list[EventWriter]:
    """The log's lines, metrics.json and TensorBoard, for a run that goes on at ``start``."""
    writers = [LogWriter(max_iter), JSONWriter(str(Path(folder) / "metrics.json"), WINDOW)]
    if not is_utf8(folder):
        logger.warning(
            "TensorBoard cannot write to OUTPUT_DIR %s, whose name is not UTF-8; metrics.json has "
            "the values",
            *(folder,),
        )
        return writers
    # what a killed run has shown beyond its last checkpoint is hidden, and a kill loses what came
    # in its last second (the default is two minutes)
    return [*writers, TensorboardXWriter(folder, WINDOW, purge_step=start, flush_secs=1)]


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
            self.write()

    def write(self) -> None:
        """Writes what is new."""
        for writer in self._writers:
            writer.write()


def _iteration(line: str) -> float:
    """Of a line of metrics.json; infinity for one that a kill has cut."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return math.inf
    return entry.get("iteration", -1) if isinstance(entry, dict) else math.inf


def cut_metrics(path: Path, start: int) -> bool:
    """Removes from a metrics.json what a run resumed at iteration ``start`` writes again.

    Returns:
        whether the line of the last step before ``start`` is there.
    """
    if not path.exists():
        return False
    lines = path.read_text(errors="replace").splitlines()
    kept = [line for line in lines if _iteration(line) < start]
    replace_text(path, "".join(line + "\n" for line in kept))
    return start - 1 in map(_iteration, kept)
