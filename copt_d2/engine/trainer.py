"""The training loop: one optimizer step per iteration, each phase back-propagated as it comes."""

import logging
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor

from ..data import build_uda_train_loader
from ..data.bit_depth import record_bit_depths
from ..errors import InputError
from ..files import replace_text
from ..solver import build_lr_scheduler, build_optimizer
from .adaptation import AdaptationWatch
from .backward import back_propagate
from .checkpointing import TrainingCheckpointer
from .dry_run import check_sizes
from .evaluate import evaluate
from .hooks import ExpectedDuration, ImageLogger, Periodic, PreciseBN, TeacherUpdate
from .metrics import WriteEvents, build_writers, cut_metrics, values_of_step
from .network_file import write_network
from .processes import average_gradients, broadcast_model
from .random_state import kept_random_state, restore_random_state
from .recent_losses import RecentLosses
from .run_state import RunState, broken_tensors
from .stop_signals import FORWARDED_WITHIN, StopSignals, Terminated
from .student_weights import load_student_weights

logger = logging.getLogger("copt_d2.trainer")


class UDATrainer(TrainerBase):
    """Trains a ``UDASegmentor``: data order, schedule, checkpoints, evaluation, logs."""

    def __init__(self, cfg: CfgNode) -> None:
        """Builds all that the config names; ``InputError`` if a file or key of it is wrong."""
        super().__init__()
        self.cfg = cfg
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.model = build_model(cfg)
        check_sizes(cfg, self.model.student, training=True)
        self.optimizer = build_optimizer(cfg, self.model)
        self.scheduler = build_lr_scheduler(cfg, self.optimizer)
        self.checkpointer = TrainingCheckpointer(cfg.OUTPUT_DIR)
        self.autocast = cfg.SOLVER.AMP.ENABLED
        self.last_batch: tuple[Any, Any] | None = None
        self.results: OrderedDict[str, dict[str, float]] = OrderedDict()
        self.recent = RecentLosses(self.model.device)
        self.state = RunState(cfg, self.model, self.optimizer, self.scheduler, self.recent)
        self.stop = StopSignals(FORWARDED_WITHIN if comm.get_world_size() > 1 else 0)
        self._stop_asked = 0  # the signal that any of several processes has got
        self._saved = 0  # steps after which there is a checkpoint
        self._events: WriteEvents | None = None
        self._resumed_random: dict[str, Any] | None = None
        self._unwritten: dict[str, float] | None = None

    def _build_hooks(self) -> list[hooks.HookBase]:
        """In the order in which they run: a checkpoint comes after all that its step has logged,
        but the one before an evaluation, which holds what will be logged with the scores.
        """
        solver = self.cfg.SOLVER
        built = [
            TeacherUpdate(),
            hooks.IterationTimer(),
            hooks.LRScheduler(self.optimizer, self.scheduler),
            Periodic(solver.LOG_PERIOD, self._log_losses),
        ]
        if comm.is_main_process():
            built.append(ExpectedDuration())
            built.append(AdaptationWatch(self.cfg))
            built.append(ImageLogger(solver.IMAGE_PERIOD, self.cfg.DATASETS.TRAIN[0]))
        built.append(Periodic(self.cfg.TEST.EVAL_PERIOD, self._save_and_evaluate))
        if comm.is_main_process():
            writers = build_writers(self.cfg.OUTPUT_DIR, self.max_iter, self.start_iter)
            self._events = WriteEvents(writers, [solver.LOG_PERIOD, self.cfg.TEST.EVAL_PERIOD])
            built.append(self._events)
        if self.cfg.TEST.PRECISE_BN.ENABLED:
            built.append(PreciseBN(self.cfg.TEST.PRECISE_BN.NUM_ITER))
        saving = Periodic(solver.CHECKPOINT_PERIOD, self.save_checkpoint)
        return [*built, saving, Periodic(1, self._stop_if_asked)]

    # state

    def resume_or_load(self, resume: bool) -> None:
        """Continues from the newest checkpoint, or starts anew, perhaps from MODEL.WEIGHTS."""
        state = self.checkpointer.load_latest() if resume else None
        if state is not None:
            self.state.restore(state)
            self.start_iter = self._saved = state["iteration"]
            self._unwritten = state.get("unwritten")
        elif resume:
            logger.warning("--resume: no checkpoint in %s, starting anew", self.cfg.OUTPUT_DIR)
        if state is None and self.cfg.MODEL.WEIGHTS:
            self._load_initial_weights()
        record_bit_depths(self.cfg)
        comm.synchronize()  # all have read their files, which may lie in this very folder
        if comm.is_main_process():
            if state is None:
                self.checkpointer.set_aside_earlier_run()
            # not earlier: until here, the folder belongs to the earlier run
            replace_text(Path(self.cfg.OUTPUT_DIR) / "config.yaml", self.cfg.dump())
        comm.synchronize()
        broadcast_model(self.model)
        if state is not None:
            self._resumed_random = self.state.restore_rank(state["ranks"])

    def _load_initial_weights(self) -> None:
        weights, part = self.cfg.MODEL.WEIGHTS, self.cfg.MODEL.WEIGHTS_PART
        load_student_weights(self.model.student, weights, self.cfg, training=True, part=part)
        if self.model.teacher is not None:
            self.model.teacher.network.load_state_dict(self.model.student.state_dict())

    def save_checkpoint(self, unwritten: dict[str, float] | None = None) -> None:
        """Everything that the rest of the run depends on, once after each step.

        Args:
            unwritten: values of this step whose line waits for the scores of its evaluation.
        """
        done = self.iter + 1
        if self._saved == done:
            return
        state = self.state.shared()
        broken = broken_tensors(state["model"])
        if broken:  # a finite loss can have an infinite gradient; the good weights must stay
            raise self._failure(
                f"{broken[0]} and {len(broken) - 1} more tensors of the model have become NaN or "
                "infinite"
            )
        if unwritten is not None:
            state["unwritten"] = unwritten
        self.checkpointer.save(state, self.state.own(), done)
        self._saved = done

    def _failure(self, what: str) -> InputError:
        return InputError(
            f"iteration {self.iter}: {what}; {self.checkpointer.last_in_words()}; "
            "lower SOLVER.BASE_LR or look at the data of the last iterations"
        )

    # the loop

    def train(self) -> None:
        """Runs to MAX_ITER. Unlike detectron2's loop it leaves reporting of errors to the
        caller.

        Raises:
            Terminated: after SIGTERM or SIGHUP, when the step is done and in a checkpoint.
        """
        is_written = self._drop_what_comes_later()  # before the writers open these files
        self.register_hooks(self._build_hooks())
        self.model.train()
        # closed at once, also after an error: garbage collection takes 5 seconds a worker
        with self.stop, closing(self._batches()) as self._data:
            if self._unwritten is not None and not is_written:
                self._catch_up(self._unwritten)
            with EventStorage(self.start_iter) as self.storage:
                self.before_train()
                for iteration in range(self.start_iter, self.max_iter):
                    self.iter = iteration
                    self.before_step()
                    self.run_step()
                    self.after_step()
                self.iter = self.storage.iter = self.max_iter
                if comm.is_main_process():
                    self.checkpointer.link_final(self.max_iter)
                    write_network(self.cfg, self.model.student, self.max_iter)
                self._evaluate_and_note()
                self.after_train()

    def _drop_what_comes_later(self) -> bool:
        """Brings the folder back to the start iteration.

        Returns:
            whether metrics.json has a line of the last step before it.
        """
        is_written = False
        if comm.is_main_process():
            self.checkpointer.remove_unfinished()
            is_written = cut_metrics(Path(self.cfg.OUTPUT_DIR) / "metrics.json", self.start_iter)
        return comm.all_gather(is_written)[0]

    def _catch_up(self, unwritten: dict[str, float]) -> None:
        """Does the evaluation that the end of an earlier process cut off, and writes the line of
        its step.
        """
        self.iter = self.start_iter - 1
        with EventStorage(self.iter) as self.storage:
            self.storage.put_scalars(**unwritten, smoothing_hint=False)
            if self.cfg.TEST.EVAL_PERIOD > 0:
                self._evaluate_and_note()
            if self._events is not None:
                self._events.write()

    def _batches(self) -> Generator[dict[str, list[dict[str, Any]]], None, None]:
        """Batches from the start iteration on; the first one brings the generators to their
        resumed state.
        """
        # whatever it finds in a cache or makes anew, which can take long
        with self.stop.at_once(), kept_random_state():
            loader = build_uda_train_loader(self.cfg, self.start_iter)
        batches = iter(loader)
        first = next(batches)
        # not earlier: the start of the loader's workers has drawn from torch's generator
        if self._resumed_random is not None:
            restore_random_state(self._resumed_random)
        yield first
        yield from batches

    def run_step(self) -> None:
        """All phases of one iteration and the optimizer step on the sum of their gradients."""
        start = time.perf_counter()
        data = next(self._data)
        self.storage.put_scalar("data_time", time.perf_counter() - start)
        self.last_batch = self.model.preprocess(data)
        self.optimizer.zero_grad()
        losses = back_propagate(self.phases(), self.cfg.SOLVER.BACKWARD)
        self._check(losses)
        average_gradients(self.model)
        self.optimizer.step()

    def phases(self) -> Iterator[dict[str, Tensor]]:
        """The model's phases, in bfloat16 where SOLVER.AMP.ENABLED."""
        phases = self.model.training_phases(*self.last_batch)
        while True:
            # entered anew for each phase: the backward pass between two phases must run outside
            with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.autocast):
                phase = next(phases, None)
            if phase is None:
                return
            yield phase

    def _check(self, losses: dict[str, Tensor]) -> None:
        """Stops all processes before the step if a loss of any of them is not finite, and lets
        them agree on the step after which they stop.
        """
        flags = (~self.recent.add(losses).isfinite()).float()
        if comm.get_world_size() > 1:
            flags = torch.cat([flags, flags.new_full((1,), self.stop.number)])
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        values = flags.tolist()
        self._stop_asked = int(values.pop()) if comm.get_world_size() > 1 else 0
        names = [name for name, flag in zip(losses, values, strict=True) if flag]
        if not names:
            return
        phases = sorted({name.split("_")[1] for name in names})
        raise self._failure(f"{', '.join(names)} in phase {', '.join(phases)} is NaN or infinite")

    def _stop_if_asked(self) -> None:
        number = self._stop_asked if comm.get_world_size() > 1 else self.stop.number
        if number:
            self.save_checkpoint()
            done = self.iter + 1
            path = self.checkpointer.path(done)
            raise Terminated(number, f"after step {done} of {self.max_iter}, which {path} holds")

    def _log_losses(self) -> None:
        """Means over the steps since the last call, and over the processes."""
        diagnostics = {k: float(v) for k, v in self.model.diagnostics.items()}
        gathered = comm.gather((self.recent.take_means(), diagnostics))
        if not comm.is_main_process():
            return
        means, extra = (
            {k: sum(part[k] for part in parts) / len(parts) for k in parts[0]}
            for parts in zip(*gathered, strict=True)
        )
        total = sum(means[name] for name in self.recent.names)
        scalars = {**means, **extra, "total_loss": total}
        self.storage.put_scalars(**scalars, smoothing_hint=False)  # they are means already

    def _save_and_evaluate(self) -> None:
        """During training a checkpoint comes first: an evaluation can take long."""
        if self.iter + 1 == self.max_iter:  # the last one comes after the training
            return
        self.save_checkpoint(values_of_step(self.storage))
        self._stop_if_asked()
        self._evaluate_and_note()

    def _evaluate_and_note(self) -> None:
        results = flatten_results_dict(self.evaluate())
        self.storage.put_scalars(**results, smoothing_hint=False)
        comm.synchronize()  # the processes may not have taken equally long

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Scores of the student on DATASETS.TEST; also kept as ``results``."""
        done = min(self.iter + 1, self.max_iter)
        checkpoint = str(self.checkpointer.path(done))
        # whether a resumed run evaluates once more changes nothing
        with self.stop.at_once(), kept_random_state():
            self.results = evaluate(self.cfg, self.model, done, checkpoint)
        return self.results
