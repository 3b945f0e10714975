"""Class text embeddings read from a text bank file; knows nothing of what made them."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..class_names import ClassList, require_distinct_rows, require_same_classes, synonyms_of
from ..errors import InputError


def load_text_bank(path: str | Path, class_names: Sequence[str | Sequence[str]]) -> Tensor:
    """Reads and checks a text bank (CoPT): one embedding per class, frozen.

    Args:
        path: safetensors file with the tensor ``text_embeddings`` (K, D) float32 and the metadata
            ``class_names``, a JSON list of K names.
        class_names: the K names that the model expects, in train-id order; a class with synonyms is
            a list of names, as in the file.
    Returns:
        (K, D) float32 on the CPU, without gradient. D is free: 384 for MiniLM, 512 for CLIP.
    Raises:
        InputError: if the file is missing or damaged, if its class names are not the expected
            ones, or if the embeddings are not finite float32 of K rows that differ.
    """
    if not str(path):  # train_net.py fills the key in; other callers may forget
        raise InputError(f"MODEL.COPT.TEXT_BANK is empty; {_remedy('bank.safetensors')}")
    bank, stored_names = _read(Path(path))
    stored = ClassList(f"the text bank {path}", stored_names)
    expected = ClassList("the model", class_names)
    require_same_classes(stored, expected, _remedy(path))
    if bank.ndim != 2 or bank.shape[0] != len(class_names) or bank.shape[1] < 2:
        raise InputError(
            f"{path}: text_embeddings have the shape {tuple(bank.shape)}, "
            f"expected ({len(class_names)}, D) with D > 1; {_remedy(path)}"
        )
    if bank.dtype != torch.float32:
        raise InputError(
            f"{path}: text_embeddings are {bank.dtype}, expected torch.float32; {_remedy(path)}"
        )
    if not torch.isfinite(bank).all():
        raise InputError(f"{path}: text_embeddings hold NaN or infinite values; {_remedy(path)}")
    require_distinct_rows(bank, stored)
    return bank


def _read(path: Path) -> tuple[Tensor, list[str | list[str]]]:
    if not path.is_file():
        raise InputError(f"{path}: no such text bank (MODEL.COPT.TEXT_BANK); {_remedy(path)}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = json.loads(metadata["class_names"])
            if not isinstance(names, list):
                raise ValueError("class_names is no list")
            for entry in names:
                synonyms_of(entry, "class_names")
            return file.get_tensor("text_embeddings"), names
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        # one line, whatever the library's message is like
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable text bank ({reason}); {_remedy(path)}") from error


def _remedy(path: str | Path) -> str:
    return f"make it with `copt bank --config-file CONFIG --out {path}`"
