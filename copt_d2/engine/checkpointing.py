"""Checkpoint files: plain tensors and values, never half written, never unpickled."""

import io
import logging
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from torch import Tensor

from ..errors import InputError
from ..files import NO_SPACE, flush, flush_folder, move_to_previous
from ..weight_files import DAMAGED, load_pickled
from .checkpoint_contents import check_state
from .class_checks import check_format, has_known_format
from .random_state import random_state

logger = logging.getLogger("copt_d2.checkpoint")
NAME = re.compile(r"model_(\d{7})\.pth")
FINAL_NETWORK = "model_final.safetensors"  # the student alone


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a file written by :func:`write_checkpoint`; every stored byte is checked.

    Raises:
        InputError: if the file is missing, truncated or holds anything but tensors and plain
            values; nothing in it is executed.
    """
    if not path.is_file():
        raise InputError(f"no such checkpoint: {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no whole zip archive")
        state = load_pickled(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"checkpoint {path} holds Python objects, which are never executed; "
            "only tensors and plain values are read"
        ) from error
    except DAMAGED as error:
        raise InputError(
            f"checkpoint {path} cannot be read ({_first_line(error)}): use an earlier one"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"checkpoint {path} holds a {type(state).__name__}, not named tensors")
    return state


class _Output(io.BufferedWriter):
    """A file for torch.save, which turns an error of the disk into one of its C++ parts."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _storages(state: Any) -> dict[int, int]:
    """Address -> bytes of what the tensors of a nested state have stored."""
    if isinstance(state, Tensor):
        storage = state.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    parts = state.values() if isinstance(state, dict) else state
    if not isinstance(state, (dict, list, tuple)):
        return {}
    return {address: size for part in parts for address, size in _storages(part).items()}


def _write(state: dict[str, Any], path: Path) -> None:
    with _Output(open(path, "wb", buffering=0)) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if file.error is None:
                raise
            raise file.error from error
        file.flush()
        flush(file.fileno())


def write_checkpoint(
    state: dict[str, Any], path: Path, write: Callable[[dict[str, Any], Path], None] = _write
) -> None:
    """Writes beside the final name, flushes to the disk and renames: the name never holds half a
    file.

    Args:
        state: tensors and plain values.
        path: the final name.
        write: turns them into a file.
    Raises:
        InputError: if the disk is full or the folder cannot be written; what was there before
            stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(state, temporary)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        advice = f"look at {error.filename or path.parent}"
        if error.errno in NO_SPACE:
            needed, free = sum(_storages(state).values()), shutil.disk_usage(path.parent).free
            advice = f"it needs {needed} bytes, and {free} are free in {path.parent}; free space"
        raise InputError(
            f"checkpoint {path} cannot be written ({error.strerror or error}): {advice} and go on "
            "with --resume; earlier checkpoints are intact"
        ) from error


class TrainingCheckpointer:
    """Writes and finds the checkpoints of one output folder; the last ``keep`` are kept."""

    def __init__(self, folder: str, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def path(self, iteration: int) -> Path:
        """Name of the checkpoint after ``iteration`` steps."""
        return self.folder / f"model_{iteration:07d}.pth"

    def files(self) -> list[Path]:
        """Checkpoints, the newest first."""
        return sorted(
            (f for f in self.folder.glob("model_*.pth") if NAME.fullmatch(f.name)), reverse=True
        )

    def last_in_words(self) -> str:
        """For messages: which checkpoint there is to go back to."""
        files = self.files()
        return f"the last good checkpoint is {files[0]}" if files else "there is no checkpoint yet"

    def save(self, state: dict[str, Any], rank_state: dict[str, Any], iteration: int) -> None:
        """Rank 0 writes the checkpoint after ``iteration`` steps; old ones go afterwards.

        All ranks must call it: ``rank_state`` of each one and its random state go into the file.
        """
        ranks = comm.gather({"random": random_state(), **rank_state})
        if comm.is_main_process():
            self.folder.mkdir(parents=True, exist_ok=True)
            full = {**state, "iteration": iteration, "ranks": ranks}
            path = self.path(iteration)
            write_checkpoint(full, path)
            # a file with a later number is one that a resume has passed over as damaged; folders
            # are not ours
            files = [file for file in self.files() if not file.is_dir()]
            kept = [file for file in files if file.name <= path.name][: self.keep]
            for file in set(files) - set(kept):
                file.unlink()
        comm.synchronize()

    def load_latest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint; says so when a damaged one is passed over; ``None``
        without any. All ranks must call it.

        Raises:
            InputError: if there are checkpoints and none of them can be read, if the newest is of a
                later version of this project, or if the processes find different ones.
        """
        state = self._newest_readable()
        found = comm.all_gather(None if state is None else state["iteration"])
        if len(set(found)) > 1:
            raise InputError(
                f"--resume: the processes find the checkpoints {found} in {self.folder}: "
                "OUTPUT_DIR must be on a disk that all machines share"
            )
        return state

    def _newest_readable(self) -> dict[str, Any] | None:
        files = self.files()
        for path in files:
            try:
                state = read_checkpoint(path)
                # of a later version, it is not damaged: nothing falls back
                if has_known_format(state):
                    check_state(path, state)
            except InputError as error:
                logger.warning("%s; falling back to the one before it", error)
                continue
            check_format(path, state)
            logger.info("resuming from %s", path)
            return state
        if files:
            raise InputError(
                f"--resume: none of the {len(files)} checkpoints in {self.folder} can be read; "
                "without --resume the training starts anew and sets them aside"
            )
        return None

    def link_final(self, iteration: int) -> None:
        """Gives the checkpoint after ``iteration`` steps the second name ``model_final.pth``."""
        path, final = self.path(iteration), self.folder / "model_final.pth"
        if final.exists() and final.samefile(path):  # to rename would change nothing
            return
        temporary = final.with_name(final.name + ".tmp")
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)
        os.replace(temporary, final)

    def remove_unfinished(self) -> None:
        """Removes what a killed process had begun to write."""
        for path in self.folder.glob("model_*.tmp"):
            if not path.is_dir():
                path.unlink()

    def set_aside_earlier_run(self) -> None:
        """Moves what an earlier run left in the folder to ``previous_<n>``, so that runs do not
        mix.
        """
        names = ["model_final.pth", FINAL_NETWORK, "metrics.json", "evaluation", "export"]
        names += ["config.yaml", "config_of_evaluation.yaml"]
        left = [*self.files(), *(self.folder / n for n in names), *self.folder.glob("events.*")]
        left = [path for path in left if path.exists()]
        # a record that an --eval-only has left here is of other weights than the run will have
        signs = [*self.files(), *self.folder.glob("metrics.json")]
        signs += self.folder.glob("evaluation/*.json")
        if not signs:
            return
        target = move_to_previous(self.folder, left)
        logger.warning(
            "%s held an earlier run; moved to %s (--resume continues a run)", self.folder, target
        )
