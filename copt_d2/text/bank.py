"""From class names and templates to a text bank file, made once and cached."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from ..class_names import (
    ClassEntry,
    ClassList,
    require_distinct_names,
    require_distinct_rows,
    require_words_in_order,
    synonyms_of,
)
from ..errors import InputError
from .encoders import EncoderOptions, TextEncoder, build_encoder
from .templates import fill_template, template_groups, union_of

BANK_TENSOR = "text_embeddings"
AVERAGINGS = ("flat", "two_level")
CLASSES_KEY = "MODEL.COPT.CLASS_NAMES"


@dataclass(frozen=True)
class BankRecipe:
    """What a bank is made from.

    Attributes:
        classes: K names, or lists of synonyms.
        groups: templates of each list of each domain, see ``template_groups``.
        averaging: "flat": one mean over the union of all lists (released code); "two_level": mean
            of each list, then of the lists of a domain, then of both domains (Eqs. 3 and 5).
        normalize: whether each prompt's embedding has the L2 norm 1 before it is averaged.
    """

    classes: Sequence[ClassEntry]
    groups: Sequence[Sequence[Sequence[str]]]
    averaging: str = "flat"
    normalize: bool = False

    @property
    def templates(self) -> list[str]:
        """All templates, each once."""
        return union_of(self.groups)


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
    recipe, encoder = _bank_ingredients(cfg, class_names)
    definition = _bank_definition(recipe, encoder)
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:20]
    folder = Path(os.environ.get("COPT_D2_CACHE") or "~/.cache/copt_d2").expanduser()
    path = folder / f"text_bank_{digest}.safetensors"
    if not _is_readable(path):
        _build_and_write(path, recipe, encoder)
    return str(path)


def make_text_bank(cfg: CfgNode, class_names: Sequence[str], path: str | Path) -> Tensor:
    """Makes the bank that a config describes, writes it to ``path`` and returns it: (K, D) float32.

    ``MODEL.COPT.TEXT_BANK`` is not looked at. Arguments and errors as for :func:`ensure_text_bank`.
    """
    return _build_and_write(Path(path), *_bank_ingredients(cfg, class_names))


def build_bank(
    class_names: Sequence[ClassEntry], templates: Sequence[str], encoder: TextEncoder
) -> Tensor:
    """One embedding per class: the plain mean over all templates, not normalised (CoPT, Eqs. 3-5).

    The paper takes the mean per domain and then the mean of both; like the released code this is
    one mean over the union of the lists. A class's row does not depend on the other classes.

    Args:
        class_names: K names; an entry may be a list of synonyms, whose rows are averaged.
        templates: texts with one ``{}``.
        encoder: maps n prompts to (n, D) float32.
    Returns:
        (K, D) float32 on the CPU.
    Raises:
        InputError: without classes or templates, for an empty class name, or for an embedding that
            is not finite.
    """
    return build_bank_of(BankRecipe(class_names, [[list(templates)]]), encoder)


def build_bank_of(recipe: BankRecipe, encoder: TextEncoder) -> Tensor:
    """The bank of a recipe; otherwise as :func:`build_bank`."""
    templates = recipe.templates
    if not recipe.classes or not templates:
        raise InputError("a text bank needs at least one class name and one template")
    classes = [synonyms_of(entry) for entry in recipe.classes]
    groups = [[templates]] if recipe.averaging == "flat" else recipe.groups
    place = {template: index for index, template in enumerate(templates)}
    places = [[[place[text] for text in one] for one in lists] for lists in groups]

    def embed(name: str) -> Tensor:
        prompts = [fill_template(text, name) for text in templates]
        embeddings = encoder.encode(prompts).float()
        _check_finite(embeddings, prompts, encoder.id)
        if recipe.normalize:
            embeddings = normalize(embeddings, dim=1)
        domains = [_mean([embeddings[one].mean(dim=0) for one in lists]) for lists in places]
        return _mean(domains)  # (D,)

    progress = tqdm(classes, desc=f"text bank, {encoder.id}", unit="class")
    return torch.stack([_mean([embed(name) for name in synonyms]) for synonyms in progress])


def _check_finite(embeddings: Tensor, prompts: Sequence[str], encoder: str) -> None:
    for prompt, row in zip(prompts, embeddings, strict=True):
        if not row.isfinite().all():
            raise InputError(
                f"{encoder} gives NaN or infinity for the prompt '{prompt:.60}': set "
                "MODEL.COPT.ENCODER_DTYPE to float32, or use another MODEL.COPT.ENCODER"
            )


def _mean(rows: list[Tensor]) -> Tensor:
    """Of n rows (D,); one row stays as it is, bit for bit."""
    return rows[0] if len(rows) == 1 else torch.stack(rows).mean(dim=0)


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


def _bank_ingredients(cfg: CfgNode, class_names: Sequence[str]) -> tuple[BankRecipe, TextEncoder]:
    copt = cfg.MODEL.COPT
    if copt.CLASS_NAMES and class_names:
        require_words_in_order(copt.CLASS_NAMES, ClassList("the data set", class_names))
    if copt.AVERAGING not in AVERAGINGS:
        raise InputError(
            f"MODEL.COPT.AVERAGING must be one of {', '.join(AVERAGINGS)}, got {copt.AVERAGING!r}"
        )
    groups = template_groups(
        copt.SOURCE_DOMAINS, copt.TARGET_DOMAINS, copt.TEMPLATES, article=copt.ARTICLE
    )
    classes = list(copt.CLASS_NAMES or class_names)
    require_distinct_names(ClassList(CLASSES_KEY, classes))  # before the encoder is loaded
    options = EncoderOptions(
        weights=copt.ENCODER_WEIGHTS,
        pooling=copt.ENCODER_POOLING,
        dtype=copt.ENCODER_DTYPE,
        device=copt.ENCODER_DEVICE,
    )
    recipe = BankRecipe(classes, groups, copt.AVERAGING, copt.NORMALIZE_PROMPTS)
    return recipe, build_encoder(copt.ENCODER, options)


def _bank_definition(recipe: BankRecipe, encoder: TextEncoder) -> dict[str, str]:
    classes = [entry if isinstance(entry, str) else list(entry) for entry in recipe.classes]
    definition = {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "templates": json.dumps(recipe.templates, ensure_ascii=False),
        "encoder": encoder.id,
        "averaging": recipe.averaging + (", normalized prompts" if recipe.normalize else ""),
    }
    if recipe.averaging != "flat":  # which does not depend on the lists
        definition["template_groups"] = json.dumps(recipe.groups, ensure_ascii=False)
    return definition


def _build_and_write(path: Path, recipe: BankRecipe, encoder: TextEncoder) -> Tensor:
    bank = build_bank_of(recipe, encoder)
    require_distinct_rows(bank, ClassList(f"{CLASSES_KEY} with {encoder.id}", recipe.classes))
    versions = {f"version.{name}": version(name) for name in ("safetensors", *encoder.libraries)}
    write_bank(path, bank, _bank_definition(recipe, encoder) | versions)
    return bank


def _existing_bank(path: str) -> str:
    if not Path(path).is_file():
        raise InputError(
            f"MODEL.COPT.TEXT_BANK: no file {path}; make it with "
            f"`copt bank --config-file CONFIG --out {path}`"
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
