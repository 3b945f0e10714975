"""Attribute lists of domains: JSON files of ``{list name: [templates]}``, ``{}`` = class name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

PLACEHOLDER = "{}"
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
        for name, templates in _read_json_object(file).items():
            if name.startswith("_"):
                continue
            if name in lists:
                raise InputError(f"{file}: the template list '{name}' occurs twice; rename one")
            lists[name] = _checked_list(file, name, templates)
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

    Args:
        source_domains: names of template lists.
        target_domains: names of template lists.
        path: as in :func:`load_template_lists`.
    Raises:
        InputError: for a name without a list (names those there are), or when no domain is given.
    """
    domains = [*source_domains, *target_domains]
    if not domains:
        raise InputError(
            "MODEL.COPT.SOURCE_DOMAINS and MODEL.COPT.TARGET_DOMAINS are empty: "
            "name template lists, e.g. ('day',)"
        )
    lists = load_template_lists(path)
    for domain in domains:
        if domain not in lists:
            raise InputError(
                f"MODEL.COPT.SOURCE_DOMAINS / TARGET_DOMAINS: no template list '{domain}' in "
                f"{path or TEMPLATES_FOLDER}; known: {', '.join(lists)}"
            )
    return list(dict.fromkeys(template for domain in domains for template in lists[domain]))


def _read_json_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except OSError as error:
        raise InputError(
            f"{file}: cannot read the templates ({error.strerror}); see MODEL.COPT.TEMPLATES"
        ) from error
    except ValueError as error:  # bad JSON, bad UTF-8 and repeated keys
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


def _checked_list(file: Path, name: str, templates: Any) -> list[str]:
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
