"""Trainer, hooks, checkpoints, evaluation, process launch and config files."""

from .checkpointing import TrainingCheckpointer, load_student_weights
from .config_files import load_config
from .evaluate import evaluate
from .launch import launch
from .trainer import UDATrainer

__all__ = [
    "TrainingCheckpointer",
    "UDATrainer",
    "evaluate",
    "launch",
    "load_config",
    "load_student_weights",
]
