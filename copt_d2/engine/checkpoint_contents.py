"""Whether what a checkpoint file of a run holds can be a run's state at all."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from ..errors import InputError
from ..weight_files import DAMAGED, check_finite, fault_of, in_words
from .random_state import kept_random_state, restore_random_state
from .recent_losses import RecentLosses

PARTS = ("model", "optimizer", "scheduler", "data", "iteration", "ranks", "config")
PLAIN = (str, int, float, bool, type(None))


def check_state(path: Path, state: Mapping[str, Any]) -> None:
    """Looks at all parts of a checkpoint of ours; whether they fit the config is not known here.

    Args:
        path: the file, model_<iteration>.pth.
        state: its content.
    Raises:
        InputError: in one line that names file and part.
    """
    missing = [part for part in PARTS if part not in state]
    if missing:
        raise InputError(f"checkpoint {path} lacks {', '.join(missing)}")
    try:
        fault = next(_faults(path, state), "")
    except RecursionError:
        fault = "a part of it is nested too deep"
    if fault:
        raise InputError(f"checkpoint {path} is none of a run: {fault}")


def _faults(path: Path, state: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with each part; each may trust those before it."""
    looks = {
        "iteration": lambda value: _of_iteration(value, path),
        "model": _of_tensors,
        "optimizer": _of_optimizer,
        "scheduler": _of_scheduler,
        "data": lambda value: "" if _is_plain(value) else "holds more than plain values",
        "config": _of_config,
        "ranks": lambda value: _of_ranks(value, state["model"]),
    }
    for part, look in looks.items():
        fault = look(state[part])
        if fault:
            yield f"{part} {fault}"
    if not _are_numbers(state.get("unwritten", {})):
        yield "unwritten holds more than named numbers"


def _entry(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _of_iteration(value: Any, path: Path) -> str:
    named = path.stem.removeprefix("model_")
    if not _is_count(value):
        return f"is no number of steps ({type(value).__name__})"
    is_named = not named.isdecimal() or int(named) == value
    return "" if is_named else f"{value} is not that of the file's name"


def _of_tensors(state: Any) -> str:
    """Of the model: named tensors, finite."""
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        return "holds no named tensors"
    for key, value in state.items():
        fault = fault_of(value) or check_finite(value)
        if fault:
            return f"{key} {fault}"
    return ""


def _of_optimizer(state: Any) -> str:
    if not isinstance(state, Mapping):
        return f"is {in_words(state)}"
    moments, groups = state.get("state", {}), state.get("param_groups", [])
    if not isinstance(moments, Mapping) or not isinstance(groups, Sequence):
        return "has no moments or no groups"
    if not all(isinstance(_entry(group, "params"), Sequence) for group in groups):
        return "has groups without parameters"
    for number, entries in moments.items():
        fault = _of_tensors(entries)
        if fault:
            return f"state {number}: {fault}"
    return ""


def _of_scheduler(state: Any) -> str:
    if not isinstance(state, Mapping):
        return f"is {in_words(state)}"
    return "" if _is_count(state.get("last_epoch", 0)) else "has counted no steps"


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, PLAIN) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(inner) for inner in value)
    return isinstance(value, PLAIN)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, Mapping) and all(
        isinstance(name, str) and isinstance(value, float) for name, value in values.items()
    )


def _of_config(text: Any) -> str:
    try:
        is_config = isinstance(text, str) and isinstance(yaml.safe_load(text or "{}"), Mapping)
    except yaml.YAMLError:
        is_config = False
    return "" if is_config else "is no YAML of a config"


def _of_ranks(ranks: Any, model: Mapping[str, Any]) -> str:
    """Buffers of the model's shapes, and states that the random generators take."""
    if not isinstance(ranks, (list, tuple)) or not ranks:
        return "holds no process"
    for rank, mine in enumerate(ranks):
        buffers = _entry(mine, "buffers")
        fault = _of_tensors(buffers)
        if fault:
            return f"{rank}: buffers {fault}"
        for key, value in buffers.items():
            if key not in model or model[key].shape != value.shape:
                return f"{rank}: the buffer {key} is not the model's"
        try:
            with kept_random_state():
                restore_random_state(mine["random"])
            RecentLosses(torch.device("cpu")).restore(mine.get("losses", ()))
        except DAMAGED:
            return f"{rank}: its random generators or losses cannot be restored"
    return ""
