"""Optimizer and learning-rate schedule."""

from .build import (
    build_lr_scheduler,
    build_optimizer,
    load_optimizer_state,
    load_scheduler_state,
    parameter_groups,
)
from .schedule import poly_warmup_factor

__all__ = [
    "build_lr_scheduler",
    "build_optimizer",
    "load_optimizer_state",
    "load_scheduler_state",
    "parameter_groups",
    "poly_warmup_factor",
]
