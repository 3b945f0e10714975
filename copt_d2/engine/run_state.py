"""All that the rest of a run depends on, as a checkpoint holds it."""

import logging
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..data.bit_depth import adopt_bit_depths
from ..errors import InputError
from ..solver import load_optimizer_state, load_scheduler_state
from ..weight_files import DAMAGED, and_more, fit_tensors
from .class_checks import check_stored_classes, checkpoint_identity
from .config_files import config_changes
from .recent_losses import RecentLosses

logger = logging.getLogger("copt_d2.trainer")

State = dict[str, Any]


def rank_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that may differ between processes: memory bank, statistics of batch norms."""
    persistent = model.state_dict()
    return {name: value for name, value in model.named_buffers() if name in persistent}


def broken_tensors(state: dict[str, Tensor]) -> list[str]:
    """Names of those that hold NaN or infinity."""
    return [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]


class RunState:
    """Collects the state of a run and brings a new one to it.

    Args:
        cfg: the whole config.
        model: student, teacher and buffers.
        optimizer: of the student.
        scheduler: of the optimizer.
        losses: those that no line has told yet.
    """

    def __init__(
        self,
        cfg: CfgNode,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        losses: RecentLosses,
    ) -> None:
        self.cfg = cfg
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.losses = losses

    def shared(self) -> State:
        """What all processes have in common."""
        return {
            **checkpoint_identity(self.cfg),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "data": self._data_order(),
            "config": self.cfg.dump(),
        }

    def own(self) -> State:
        """What this process alone has, but for its random generators."""
        buffers = {name: value.cpu() for name, value in rank_buffers(self.model).items()}
        return {"buffers": buffers, "losses": self.losses.state()}

    def _data_order(self) -> State:
        """What fixes, with the iteration, which images come next."""
        order = {
            "seed": self.cfg.SEED,
            "batch": self.cfg.SOLVER.IMS_PER_BATCH,
            "source": list(self.cfg.DATASETS.TRAIN),
            "target": list(self.cfg.DATASETS.TARGET),
        }
        if self.cfg.DATASETS.TARGET_LABELED:
            order["target_labeled"] = list(self.cfg.DATASETS.TARGET_LABELED)
            order["target_labeled_share"] = self.cfg.DATASETS.TARGET_LABELED_SHARE
        return order

    def restore(self, state: State) -> None:
        """Brings model, optimizer and schedule to a checkpoint.

        Raises:
            InputError: if it is of other data, other classes or another network, or beyond
                SOLVER.MAX_ITER.
        """
        folder = self.cfg.OUTPUT_DIR
        if state["data"] != self._data_order():
            raise InputError(
                f"--resume: {folder} was trained with the data order {state['data']}, "
                f"the config says {self._data_order()}: set SEED, SOLVER.IMS_PER_BATCH and "
                "DATASETS back, or choose another OUTPUT_DIR"
            )
        check_stored_classes(folder, state, self.cfg)
        adopt_bit_depths(self.cfg, state["config"])
        changes = ", ".join(config_changes(state["config"], self.cfg))
        if changes:
            logger.warning("--resume: the config has changed and counts from here on: %s", changes)
        fit = fit_tensors(state["model"], {k: k for k in state["model"]}, self.model.state_dict())
        wrong = [*fit.misshapen, *fit.missing, *fit.unknown, *fit.broken]
        try:
            if wrong:
                raise ValueError(and_more(wrong))
            self.model.load_state_dict(fit.tensors)
            load_optimizer_state(self.optimizer, state["optimizer"])
            load_scheduler_state(self.scheduler, state["scheduler"])
        except DAMAGED as error:
            detail = " ".join(str(error).split())[:200]
            raise InputError(
                f"--resume: what is in {folder} does not fit the config: {detail}"
            ) from error
        if state["iteration"] > self.cfg.SOLVER.MAX_ITER:
            raise InputError(
                f"--resume: {folder} has {state['iteration']} iterations already, more than "
                f"SOLVER.MAX_ITER {self.cfg.SOLVER.MAX_ITER}: raise it, or evaluate with "
                "--eval-only"
            )

    def restore_rank(self, ranks: list[State]) -> State:
        """Buffers and unlogged losses of this process; of rank 0's if there were fewer then.

        Returns:
            the states of the random generators, as of `random_state`.
        """
        mine = ranks[comm.get_rank()] if comm.get_rank() < len(ranks) else ranks[0]
        if len(ranks) != comm.get_world_size():
            logger.warning(
                "%d processes continue a run of %d: not bit-equal",
                comm.get_world_size(),
                len(ranks),
            )
        buffers = dict(self.model.named_buffers())
        for name, value in mine["buffers"].items():
            buffers[name].copy_(value)
        self.losses.restore(mine.get("losses", ()))
        return mine["random"]
