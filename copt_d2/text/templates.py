"""Attribute lists of domains: JSON files of ``{list name: [templates]}``, ``{}`` = class name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

PLACEHOLDER = "{}"
HAND_CRAFTED = "hand_crafted"  # value of MODEL.COPT.TEMPLATES
MARK = f"{HAND_CRAFTED}:"  # before the words of a domain that stands beside names of lists
TEMPLATES_FOLDER = Path(__file__).parent / "templates"


def fill_template(template: str, class_name: str) -> str:
    """The prompt of one class: its bare name in the template's place for it (CoPT, Eq. 4).

    Class names may hold braces: nothing but the template's own placeholder is replaced.
    """
    return template.replace(PLACEHOLDER, class_name)


def load_template_lists(path: str | Path = "") -> dict[str, list[str]]:
    """Reads template lists.

    Args:
        path: JSON file, or a folder whose ``*.json`` files are read together; empty = the lists of
            this package. Keys that begin with ``_`` (provenance, notes) are not lists.
    Returns:
        Templates by list name, both in the order of the file.
    Raises:
        InputError: for a missing or unreadable file, a list that is empty or occurs twice, or a
            template that does not hold ``{}`` exactly once; names the file and the list.
    """
    path = Path(path) if path else TEMPLATES_FOLDER
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    lists: dict[str, list[str]] = {}
    for file in files:
        for name, templates in read_template_file(file).items():
            if name.startswith("_"):
                continue
            if name in lists:
                raise InputError(f"{file}: the template list '{name}' occurs twice; rename one")
            lists[name] = checked_list(file, name, templates)
    if not lists:
        raise InputError(
            f'{path}: no template lists; expected JSON such as {{"day": ["{{}} at noon"]}}'
        )
    return lists


def domain_templates(
    source_domains: Sequence[str], target_domains: Sequence[str], path: str | Path = ""
) -> list[str]:
    """Union of the lists of the source and the target domains (CoPT, released code).

    The order is fixed: source lists first, each as in its file, repeated templates left out.
    Arguments and errors as for :func:`template_groups`.
    """
    return union_of(template_groups(source_domains, target_domains, path))


def template_groups(
    source_domains: Sequence[str],
    target_domains: Sequence[str],
    path: str | Path = "",
    *,
    article: bool = False,
) -> list[list[list[str]]]:
    """The templates of each domain's lists: first the source's lists, then the target's.

    Args:
        source_domains: names of template lists, or words for the domain as
            ``"hand_crafted:WORDS"``; with hand-crafted templates words in any case.
        target_domains: the same of the target; one of both may be empty and is left out then.
        path: as in :func:`load_template_lists`, or ``"hand_crafted"``: one template a domain.
        article: a class name that begins a template has an article before it (CoPT, Eq. 4).
    Raises:
        InputError: for a name without a list (names those there are), or when no domain is given.
    """
    hand_crafted = str(path) == HAND_CRAFTED
    lists = {} if hand_crafted else load_template_lists(path)
    if not source_domains and not target_domains:
        what = f"template lists, some of {', '.join(lists)}" if lists else "words, such as 'photo'"
        raise InputError(
            f"MODEL.COPT.SOURCE_DOMAINS and MODEL.COPT.TARGET_DOMAINS are empty: name {what}"
        )
    groups = []
    for domains in (source_domains, target_domains):
        if not hand_crafted:
            _check_names(domains, lists, path)
        found = [
            [_hand_crafted(name)] if hand_crafted or _is_marked(name) else lists[name]
            for name in domains
        ]
        if found:
            groups.append([[_with_article(t) for t in one] if article else one for one in found])
    return groups


def union_of(groups: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """All templates of all lists in their order, each once."""
    return list(dict.fromkeys(text for lists in groups for one in lists for text in one))


def _check_names(domains: Sequence[str], lists: dict[str, list[str]], path: str | Path) -> None:
    for domain in domains:
        if not _is_marked(domain) and (not isinstance(domain, str) or domain not in lists):
            raise InputError(
                f"MODEL.COPT.SOURCE_DOMAINS / TARGET_DOMAINS: no template list '{domain}' in "
                f"{path or TEMPLATES_FOLDER}; known: {', '.join(lists)}; words of your own are "
                f"written '{MARK}WORDS'"
            )


def _is_marked(domain: str) -> bool:
    return isinstance(domain, str) and domain.startswith(MARK)


def _hand_crafted(domain: str) -> str:
    """ "a DOMAIN of a CLASS" (CoPT, Eq. 2)."""
    if _is_marked(domain):
        domain = domain.removeprefix(MARK)
    if not isinstance(domain, str) or not domain.strip() or PLACEHOLDER in domain:
        raise InputError(
            f"MODEL.COPT.SOURCE_DOMAINS / TARGET_DOMAINS: {domain!r} is no word for a kind of "
            "image, such as 'photo' or 'video game'"
        )
    article = "an" if domain.strip()[0].lower() in "aeiou" else "a"
    return f"{article} {domain.strip()} of a {PLACEHOLDER}"


def _with_article(template: str) -> str:
    return f"A {template}" if template.startswith(PLACEHOLDER) else template


def read_template_file(file: Path) -> dict[str, Any]:
    """All of a file of template lists, notes included, with its lists unchecked.

    Raises:
        InputError: if it cannot be read as a JSON object; names the file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique_keys)
    except OSError as error:
        raise InputError(
            f"{file}: cannot read the templates ({error.strerror}); see MODEL.COPT.TEMPLATES"
        ) from error
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, repeated keys, too deep
        raise InputError(f"{file}: not a JSON file of template lists ({error})") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: expected a JSON object of template lists, got {type(content).__name__}"
        )
    return content


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):  # json would keep the last one without a word
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the list '{repeated}' occurs twice")
    return content


def checked_list(file: Path, name: str, templates: Any) -> list[str]:
    """A list of a file, if it is one of templates.

    Raises:
        InputError: names the file and what is wrong in it.
    """
    if not isinstance(templates, list):
        raise InputError(f"{file}: '{name}' is not a list of templates")
    if not templates:
        raise InputError(f"{file}: the template list '{name}' is empty; add templates or remove it")
    for template in templates:
        if not isinstance(template, str) or template.count(PLACEHOLDER) != 1:
            raise InputError(
                f"{file}: '{name}' holds {template!r}; a template is a text with exactly one {{}}"
            )
    return templates
