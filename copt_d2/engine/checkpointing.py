"""Checkpoint files: plain tensors and values, never half written, never unpickled."""

import logging
import os
import pickle
import random
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint import student_state
from ..errors import InputError

logger = logging.getLogger("copt_d2.checkpoint")
NAME = re.compile(r"model_(\d{7})\.pth")
BROKEN = (RuntimeError, EOFError, OSError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


def random_state() -> dict[str, Any]:
    """States of all generators of this process, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Inverse of :func:`random_state`."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a file written by :func:`write_checkpoint`; every stored byte is checked.

    Raises:
        InputError: if the file is missing, truncated or holds anything but tensors and plain
            values.
    """
    if not path.is_file():
        raise InputError(f"no such checkpoint: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path} cannot be read ({reason}): use an earlier one"
        ) from error


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Writes beside the final name, flushes to the disk and renames: the name never holds half a
    file.

    Raises:
        InputError: if the disk is full or the folder cannot be written; what was there before
            stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (
        OSError,
        RuntimeError,
    ) as error:  # torch's zip writer turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        reason = str(error).splitlines()[0]
        raise InputError(
            f"checkpoint {path} cannot be written ({reason}): free space in {path.parent} "
            "and go on with --resume; earlier checkpoints are intact"
        ) from error


def load_student_weights(network: nn.Module, path: str) -> None:
    """Loads the student of a training checkpoint, or a bare network, from a .pth or .safetensors
    file.

    Raises:
        InputError: if the file cannot be read or is of another architecture or class count.
    """
    file = Path(path)
    if file.suffix == ".safetensors" and file.is_file():
        state = load_file(file)
    else:
        state = read_checkpoint(file)
    state = student_state(state.get("model", state))
    wanted = network.state_dict()
    wrong = [
        f"{key} is {tuple(state[key].shape)} there and {tuple(wanted[key].shape)} here"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    wrong += [f"{key} is missing there" for key in wanted if key not in state]
    wrong += [f"{key} is unknown here" for key in state if key not in wanted]
    if wrong:
        raise InputError(
            f"MODEL.WEIGHTS {path} is of another architecture or class count than the config: "
            f"{wrong[0]}, and {len(wrong) - 1} more like it"
        )
    network.load_state_dict(state)


class TrainingCheckpointer:
    """Writes and finds the checkpoints of one output folder; the last ``keep`` are kept."""

    def __init__(self, folder: str, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def files(self) -> list[Path]:
        """Checkpoints, the newest first."""
        return sorted(
            (f for f in self.folder.glob("model_*.pth") if NAME.fullmatch(f.name)), reverse=True
        )

    def save(self, state: dict[str, Any], iteration: int) -> None:
        """Rank 0 writes ``state`` as the checkpoint after ``iteration`` steps; old ones go
        afterwards.

        All ranks must call it: each one's random state and buffers (memory bank, batch norms) go
        into the file.
        """
        buffers = {name: value.cpu() for name, value in state.pop("rank_buffers").items()}
        ranks = comm.gather({"random": random_state(), "buffers": buffers})
        if comm.is_main_process():
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"model_{iteration:07d}.pth"
            write_checkpoint({**state, "iteration": iteration, "ranks": ranks}, path)
            for old in self.files()[self.keep :]:
                old.unlink()
        comm.synchronize()

    def load_latest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint; says so when a damaged one is passed over; ``None``
        without any.
        """
        for path in self.files():
            try:
                state = read_checkpoint(path)
            except InputError as error:
                logger.warning("%s; falling back to the one before it", error)
                continue
            logger.info("resuming from %s", path)
            return state
        return None

    def link_final(self) -> None:
        """Gives the newest checkpoint the second name ``model_final.pth``."""
        final, newest = self.folder / "model_final.pth", self.files()[0]
        temporary = self.folder / "model_final.pth.tmp"
        temporary.unlink(missing_ok=True)
        os.link(newest, temporary)
        os.replace(temporary, final)

    def set_aside_earlier_run(self) -> None:
        """Moves what an earlier run left in the folder to ``previous_<n>``, so that runs do not
        mix.
        """
        names = ["model_final.pth", "metrics.json", "evaluation"]
        left = [*self.files(), *(self.folder / n for n in names), *self.folder.glob("events.*")]
        left = [path for path in left if path.exists()]
        if not any(NAME.fullmatch(path.name) for path in left):
            return
        number = len(list(self.folder.glob("previous_*"))) + 1
        target = self.folder / f"previous_{number}"
        target.mkdir()
        for path in left:
            path.rename(target / path.name)
        logger.warning(
            "%s held an earlier run; moved to %s (--resume continues a run)", self.folder, target
        )


def rank_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that may differ between processes."""
    persistent = model.state_dict()
    return {name: value for name, value in model.named_buffers() if name in persistent}
