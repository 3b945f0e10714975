"""The student alone as a .safetensors file that says what it is: config, classes, their colours."""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ..errors import InputError
from ..files import flush
from ..weight_files import read_tensors
from .checkpointing import FINAL_NETWORK, write_checkpoint
from .class_checks import checkpoint_identity

logger = logging.getLogger("copt_d2.checkpoint")
SIZE_BYTES = 8  # before the header, its length, the lower bytes first
PLAIN = ("config",)  # texts; all else in the metadata is JSON


def write_network(cfg: CfgNode, student: nn.Module, iteration: int) -> None:
    """Writes OUTPUT_DIR/model_final.safetensors; equal students of equal configs give equal bytes.

    Args:
        cfg: the whole config.
        student: its weights and buffers.
        iteration: steps that it has been trained for.
    Raises:
        InputError: if the disk is full or the folder cannot be written.
    """
    content = {**checkpoint_identity(cfg), "iteration": iteration, "config": cfg.dump()}
    path = Path(cfg.OUTPUT_DIR) / FINAL_NETWORK
    write_checkpoint({**content, "model": student.state_dict()}, path, _write)
    logger.info("the student alone, with its config and classes, is in %s", path)


def _write(state: dict[str, Any], path: Path) -> None:
    # copies: safetensors refuses tensors that share memory
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state["model"].items()
    }
    metadata = {
        key: value if key in PLAIN else json.dumps(value, ensure_ascii=False)
        for key, value in state.items()
        if key != "model"
    }
    content = _in_order(save(tensors, metadata))
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        flush(file.fileno())


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors' own order changes from call to call."""
    size = int.from_bytes(content[:SIZE_BYTES], "little")
    header = json.loads(content[SIZE_BYTES : SIZE_BYTES + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % SIZE_BYTES)
    return len(text).to_bytes(SIZE_BYTES, "little") + text + content[SIZE_BYTES + size :]


def read_network(path: Path) -> dict[str, Any]:
    """What a .safetensors file holds, in the form of a training checkpoint where it says so.

    Returns:
        ``model``, ``config``, ``format``, ``classes`` and so on of a file that this project has
        written, of others their tensors by name.
    Raises:
        InputError: if it cannot be read, or its metadata is damaged.
    """
    tensors = read_tensors(path, "MODEL.WEIGHTS")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        # "format" alone is what other programs write
        if not {"format", "config"} <= metadata.keys():
            return tensors
        entries = {k: v if k in PLAIN else json.loads(v) for k, v in metadata.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"MODEL.WEIGHTS {path}: what it says of its classes and config cannot be read: restore "
            "the file"
        ) from error
    return {**entries, "model": tensors}


def steps_of(path: Path) -> int | None:
    """Steps after which a .safetensors file of this project was written; ``None`` of others."""
    with suppress(SafetensorError, OSError, ValueError), safe_open(path, "pt") as file:
        return int((file.metadata() or {}).get("iteration", ""))
    return None
