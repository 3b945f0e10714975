"""Trainer, hooks, checkpoints, evaluation, process launch and config files."""

from .checkpointing import TrainingCheckpointer
from .checks import check_config
from .config_files import chosen_values, load_config
from .evaluate import check_expected_results, evaluate, evaluate_weights
from .launch import launch
from .student_weights import load_student_weights
from .trainer import UDATrainer

__all__ = [
    "TrainingCheckpointer",
    "UDATrainer",
    "check_config",
    "check_expected_results",
    "chosen_values",
    "evaluate",
    "evaluate_weights",
    "launch",
    "load_config",
    "load_student_weights",
]
