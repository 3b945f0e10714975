"""From class names and templates to a text bank file, made once and cached."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from .encoders import TextEncoder, build_encoder
from .templates import domain_templates, fill_template

BANK_TENSOR = "text_embeddings"
AVERAGING = "flat"  # one mean over the union of all lists (released code)


def ensure_text_bank(cfg: CfgNode, class_names: Sequence[str]) -> str:
    """Path of the text bank that a config asks for; it is made and cached if it is not there yet.

    Args:
        cfg: ``MODEL.COPT.TEXT_BANK`` names a file; when it is empty, the other keys of
            ``MODEL.COPT`` say what the bank is made from.
        class_names: the data set's K class names in train-id order, used unless
            ``MODEL.COPT.CLASS_NAMES`` is set.
    Returns:
        A file in the form of :func:`write_bank`. Cached ones lie under ``$COPT_D2_CACHE`` (default
        ``~/.cache/copt_d2``), named by a hash of everything that defines the embeddings.
    Raises:
        InputError: if ``TEXT_BANK`` does not exist, a key is wrong, or the cache cannot be written.
    """
    if cfg.MODEL.COPT.TEXT_BANK:
        return _existing_bank(cfg.MODEL.COPT.TEXT_BANK)
    class_names, templates, encoder = _bank_ingredients(cfg, class_names)
    definition = _bank_definition(class_names, templates, encoder)
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:20]
    folder = Path(os.environ.get("COPT_D2_CACHE") or "~/.cache/copt_d2").expanduser()
    path = folder / f"text_bank_{digest}.safetensors"
    if not _is_readable(path):
        _build_and_write(path, class_names, templates, encoder)
    return str(path)


def make_text_bank(cfg: CfgNode, class_names: Sequence[str], path: str | Path) -> Tensor:
    """Makes the bank that a config describes, writes it to ``path`` and returns it: (K, D) float32.

    ``MODEL.COPT.TEXT_BANK`` is not looked at. Arguments and errors as for :func:`ensure_text_bank`.
    """
    return _build_and_write(Path(path), *_bank_ingredients(cfg, class_names))


def build_bank(
    class_names: Sequence[str], templates: Sequence[str], encoder: TextEncoder
) -> Tensor:
    """One embedding per class: the plain mean over all templates, not normalised (CoPT, Eqs. 3-5).

    The paper takes the mean per domain and then the mean of both; like the released code this is
    one mean over the union of the lists. A class's row does not depend on the other classes.

    Args:
        class_names: K names.
        templates: texts with one ``{}``.
        encoder: maps n prompts to (n, D) float32.
    Returns:
        (K, D) float32 on the CPU.
    Raises:
        InputError: without classes or templates, or for an empty class name.
    """
    if not class_names or not templates:
        raise InputError("a text bank needs at least one class name and one template")
    if not all(name.strip() for name in class_names):
        raise InputError(f"empty class name among {list(class_names)}; see MODEL.COPT.CLASS_NAMES")
    rows = []
    for name in tqdm(class_names, desc=f"text bank, {encoder.id}", unit="class"):
        prompts = [fill_template(template, name) for template in templates]
        rows.append(encoder.encode(prompts).float().mean(dim=0))  # (D,)
    return torch.stack(rows)


def write_bank(path: str | Path, bank: Tensor, metadata: Mapping[str, str]) -> None:
    """Writes a text bank as safetensors, whole or not at all, the same bytes for the same bank.

    Args:
        path: file to write; its folder is created.
        bank: (K, D) float32, stored as ``text_embeddings``.
        metadata: ``class_names`` and ``templates`` (JSON lists), ``encoder``, ``averaging``,
            library versions as ``version.NAME``.
    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    content = _with_sorted_header(save({BANK_TENSOR: bank.contiguous()}, dict(metadata)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace_file(path, content)
    except OSError as error:
        raise InputError(
            f"{path}: cannot write the text bank ({error.strerror}); "
            "choose another place with --out or the environment variable COPT_D2_CACHE"
        ) from error


def _bank_ingredients(
    cfg: CfgNode, class_names: Sequence[str]
) -> tuple[list[str], list[str], TextEncoder]:
    copt = cfg.MODEL.COPT
    if copt.CLASS_NAMES and class_names and len(copt.CLASS_NAMES) != len(class_names):
        raise InputError(
            f"MODEL.COPT.CLASS_NAMES has {len(copt.CLASS_NAMES)} names {list(copt.CLASS_NAMES)}, "
            f"the data set {len(class_names)} classes {list(class_names)}"
        )
    templates = domain_templates(copt.SOURCE_DOMAINS, copt.TARGET_DOMAINS, copt.TEMPLATES)
    return list(copt.CLASS_NAMES or class_names), templates, build_encoder(copt.ENCODER)


def _bank_definition(
    class_names: Sequence[str], templates: Sequence[str], encoder: TextEncoder
) -> dict[str, str]:
    return {
        "class_names": json.dumps(list(class_names), ensure_ascii=False),
        "templates": json.dumps(list(templates), ensure_ascii=False),
        "encoder": encoder.id,
        "averaging": AVERAGING,
    }


def _build_and_write(
    path: Path, class_names: list[str], templates: list[str], encoder: TextEncoder
) -> Tensor:
    bank = build_bank(class_names, templates, encoder)
    versions = {f"version.{name}": version(name) for name in ("safetensors", *encoder.libraries)}
    write_bank(path, bank, _bank_definition(class_names, templates, encoder) | versions)
    return bank


def _existing_bank(path: str) -> str:
    if not Path(path).is_file():
        raise InputError(
            f"MODEL.COPT.TEXT_BANK: no file {path}; make it with "
            f"`python tools/build_text_bank.py --config-file CONFIG --out {path}`"
        )
    return path


def _is_readable(path: Path) -> bool:
    """Whether a cached bank is there and whole; a damaged one is made again."""
    try:
        with safe_open(path, framework="pt") as file:
            return BANK_TENSOR in file.keys()  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError):
        return False


def _with_sorted_header(content: bytes) -> bytes:
    # safetensors orders its metadata at random; a file is 8 bytes of length, a JSON header, data
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # keeps the data aligned
    return len(header).to_bytes(8, "little") + header + content[start:]


def _replace_file(path: Path, content: bytes) -> None:
    # a name of its own for each process: several may make the same bank at once
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
