"""AdamW with the reference's three parameter groups, and its schedule."""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import Backbone
from torch import nn

from .schedule import poly_warmup_factor

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


def parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Groups of all parameters that require a gradient; the first rule that matches a parameter's
    name wins.

    1. ``head`` in the name, outside encoders (detectron2's ``Backbone``), some of which have heads
       of attention: learning rate times HEAD_LR_MULTIPLIER, weight decay (norms inside heads
       included);
    2. ``norm`` in the name: no decay;
    3. the rest: weight decay, biases included, and norms that are named otherwise (timm's ``bn``).
    """
    solver = cfg.SOLVER
    head: dict[str, Any] = {"name": "head", "params": [], "weight_decay": solver.WEIGHT_DECAY}
    head["lr"] = solver.BASE_LR * solver.HEAD_LR_MULTIPLIER
    norm = {"name": "norm", "params": [], "lr": solver.BASE_LR}
    norm["weight_decay"] = solver.WEIGHT_DECAY_NORM
    rest = {"name": "rest", "params": [], "lr": solver.BASE_LR}
    rest["weight_decay"] = solver.WEIGHT_DECAY
    encoders = [module for module in model.modules() if isinstance(module, Backbone)]
    encoded = {id(parameter) for encoder in encoders for parameter in encoder.parameters()}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if "head" in name and id(parameter) not in encoded:
            head["params"].append(parameter)
        elif "norm" in name:
            norm["params"].append(parameter)
        else:
            rest["params"].append(parameter)
    return [group for group in (head, norm, rest) if group["params"]]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.AdamW:
    """AdamW at base learning rates over what is trained (the schedule scales them)."""
    # fused: half the time of the default loop on the CPU as well
    return torch.optim.AdamW(parameter_groups(cfg, model), betas=(0.9, 0.999), eps=1e-8, fused=True)


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes the moments and step counts over; rates and decays stay as the config has them.

    Raises:
        ValueError: if the state is of other parameter groups, or its moments of other parameters.
    """
    options = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        shapes = {key: tuple(value.shape) for key, value in moments.items() if key != "step"}
        if set(moments) != {"step", *MOMENTS} or set(shapes.values()) != {tuple(parameter.shape)}:
            raise ValueError(f"a parameter of {tuple(parameter.shape)} has the moments {shapes}")
    for group, built in zip(optimizer.param_groups, options, strict=True):
        group.update(built)


def load_scheduler_state(
    scheduler: torch.optim.lr_scheduler.LambdaLR, state: dict[str, Any]
) -> None:
    """Takes the iteration over; base rates and the schedule stay as the config has them."""
    scheduler.load_state_dict({**state, "base_lrs": scheduler.base_lrs})
    groups = scheduler.optimizer.param_groups
    for group, rate, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = rate * factor(scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in groups]


def build_lr_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LambdaLR:
    """Scales all groups by :func:`poly_warmup_factor` of the iteration."""
    solver = cfg.SOLVER

    def factor(iteration: int) -> float:
        return poly_warmup_factor(
            *(iteration, solver.MAX_ITER, solver.WARMUP_ITERS),
            *(solver.WARMUP_FACTOR, solver.POLY_POWER),
        )

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
