"""Lists of class names: what a list may hold, and whether two of them are the same."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import InputError

ClassEntry = str | Sequence[str]  # a class name, or synonyms of which the first one names the class

# share of its length by which a text's embedding differs from batch to batch; classes differ by 0.1
EQUAL = 1e-4


class ClassList(NamedTuple):
    """Classes in the order of their train ids, and whose they are.

    Attributes:
        owner: for messages, such as "camvid_day_train (DATASETS.TRAIN)".
        names: K names, or lists of synonyms.
    """

    owner: str
    names: Sequence[ClassEntry]


def require_same_classes(first: ClassList, second: ClassList, remedy: str) -> None:
    """Compares two lists name by name; case and order count.

    Args:
        first: what is looked at.
        second: what it must be equal to.
        remedy: what to do, the end of the message.
    Raises:
        InputError: naming both owners and the first class that differs.
    """
    mine, theirs = ([_plain(name) for name in names] for _, names in (first, second))
    if mine == theirs:
        return
    shared = min(len(mine), len(theirs))
    place = next((k for k in range(shared) if mine[k] != theirs[k]), shared)
    if len(mine) != len(theirs):
        what = f"{first.owner} has {len(mine)} classes and {second.owner} has {len(theirs)}"
    elif sorted(map(str, mine)) == sorted(map(str, theirs)):
        what = f"{first.owner} and {second.owner} have the same classes in another order"
    else:
        what = f"{first.owner} and {second.owner} have different classes"
    raise InputError(
        f"{what}: class {place} is {_class_at(mine, place)} in the first and "
        f"{_class_at(theirs, place)} in the second; {remedy}"
    )


def synonyms_of(entry: ClassEntry, owner: str = "MODEL.COPT.CLASS_NAMES") -> list[str]:
    """The names of one class, the first of which stands for it.

    Raises:
        InputError: for an entry that is neither a text nor a list of texts, or an empty text.
    """
    synonyms = [entry] if isinstance(entry, str) else entry
    texts = isinstance(synonyms, (list, tuple)) and all(isinstance(s, str) for s in synonyms)
    if not texts or not synonyms:
        raise InputError(
            f"{owner}: {entry!r} is neither a name nor a list of synonyms; put quotes around names "
            "that YAML takes for numbers or truth values"
        )
    if not all(name.strip() for name in synonyms):
        raise InputError(f"{owner}: empty class name in {entry!r}; each class needs a name")
    return [str(name) for name in synonyms]


def require_distinct_names(classes: ClassList) -> None:
    """Checks that each class can be told from the others by its name.

    Raises:
        InputError: for what is no name (:func:`synonyms_of`), and for a name of two classes; names
            that differ only in case, white space or the form of their letters are one name.
    """
    seen: dict[str, tuple[int, str]] = {}
    for train_id, entry in enumerate(classes.names):
        for name in synonyms_of(entry, classes.owner):
            earlier, as_written = seen.setdefault(_spelling(name), (train_id, name))
            if earlier != train_id:
                raise InputError(
                    f"{classes.owner}: {as_written!r} of class {earlier} and {name!r} of class "
                    f"{train_id} are one name; give each class a name of its own"
                )


def require_words_in_order(words: Sequence[ClassEntry], data: ClassList) -> None:
    """Checks the words that stand for the classes of a data set: as many, and not another's name.

    Args:
        words: MODEL.COPT.CLASS_NAMES; any words, also lists of synonyms.
        data: the data set's classes.
    Raises:
        InputError: if their numbers differ, or a class is called what another one is called.
    """
    own = ClassList("MODEL.COPT.CLASS_NAMES", words)
    require_distinct_names(own)
    remedy = "give one entry for each class, in the order of the data set"
    theirs = [_spelling(name) for name in data.names]
    ours = [[_spelling(name) for name in synonyms_of(entry)] for entry in words]
    firsts = [synonyms[0] for synonyms in ours]
    if len(firsts) != len(theirs) or (firsts != theirs and sorted(firsts) == sorted(theirs)):
        require_same_classes(own, data, remedy)
    for train_id, synonyms in enumerate(ours):
        for name in set(synonyms) & set(theirs) - {theirs[train_id]}:
            raise InputError(
                f"{own.owner}: class {train_id} is {words[train_id]!r}, but {name!r} is class "
                f"{theirs.index(name)} of {data.owner}; {remedy}"
            )


def require_distinct_rows(bank: Tensor, classes: ClassList) -> None:
    """Checks that the embeddings of a text bank tell its classes apart.

    Scripts that an encoder does not know become one and the same token, whatever the name.

    Args:
        bank: (K, D) float, finite.
        classes: where it comes from, and its K names.
    Raises:
        InputError: if rows are equal to float rounding, or one is constant (all 0, say): it has no
            covariance with any other. Names the classes.
    """
    rows = bank.double()
    names = [synonyms_of(entry, classes.owner)[0] for entry in classes.names]
    scale = torch.linalg.vector_norm(rows, dim=1)
    spread = torch.linalg.vector_norm(rows - rows.mean(dim=1, keepdim=True), dim=1)
    flat = [name for name, one in zip(names, spread <= EQUAL * scale, strict=True) if one]
    if flat:
        raise InputError(
            f"{classes.owner}: the embedding of {_in_words(flat)} is zero or constant, so nothing "
            "can covary with it; use another MODEL.COPT.ENCODER or other names"
        )
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    equal = (distance <= EQUAL * torch.maximum(scale, scale[:, None])).fill_diagonal_(False)
    if equal.any():
        found = [name for name, one in zip(names, equal.any(dim=1), strict=True) if one]
        raise InputError(
            f"{classes.owner}: the embeddings of {_in_words(found)} are equal, so nothing tells "
            "these classes apart; the encoder may not know their script: give names that it knows "
            "in MODEL.COPT.CLASS_NAMES, such as English ones, or use another MODEL.COPT.ENCODER"
        )


def _in_words(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _plain(entry: ClassEntry) -> str | list[str]:
    # of tuples, lists and numpy's texts alike
    return str(entry) if isinstance(entry, str) else [str(name) for name in entry]


def _class_at(names: Sequence[str | list[str]], place: int) -> str:
    return repr(names[place]) if place < len(names) else "missing"


def _spelling(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
