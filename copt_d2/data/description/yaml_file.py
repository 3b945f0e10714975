"""Reads a YAML file as data: plain types, no key twice, every mistake in one line."""

import datetime
from pathlib import Path
from typing import Any

import yaml

from ...errors import InputError


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice in one table."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node, "a key must be a word or a number")
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in seen:
                raise _at(key_node, f"the key {key!r} stands twice, first in line {seen[key]}")
            seen[key] = line
        return super().construct_mapping(node, deep)


def _at(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: if the file is missing or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is no UTF-8 text" if isinstance(error, UnicodeError) else error.strerror
        raise InputError(f"{path} cannot be read: {reason}") from None


def parse_yaml(text: str, path: Path) -> dict[str, Any]:
    """The table that a YAML text holds.

    Args:
        text: what stands in a file.
        path: the file, for messages.
    Raises:
        InputError: if it is no YAML, holds a tag, a double key or no table; the line is named.
    """
    try:
        table = yaml.load(text, Loader=_Loader)  # a SafeLoader: plain types only
    except yaml.YAMLError as error:
        raise InputError(f"{path}{_reason(error, text)}") from None
    except (ValueError, RecursionError) as error:  # 2026-02-31, a thousand brackets
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(table, dict):
        raise InputError(f"{path} holds {kind_of(table)}, not a table of keys")
    return table


def _reason(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return f" is not valid YAML: {problem}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        problem = "it is indented with a tab; use spaces"
    return f", line {mark.line + 1}: {problem}"


def kind_of(value: Any) -> str:
    """What YAML has read, in words: "the number 1", "the bool False", "a list"."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the bool {value}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return f"the date {value}"
    if isinstance(value, str):
        return f"the text {value!r}"
    return "a table" if isinstance(value, dict) else "a list"
