"""Language models' answers, in whatever shape they come, as templates."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .phrases import clean_phrase, template_of

MARK = (
    r"(?:[-*•‣◦▪\u2013—+]|\(?\d{1,3}\s?[.):]|\(?[a-zA-Z][.)]|[IVX]{1,5}[.)]|[①-⑳]"
    r"|\d{1,3}\s[-\u2013—]|#\d{1,3}:?|(?i:attribute|feature|item|description)\s\d{1,3}\s?[.):])\s+|\d{1,3}[、\uff0e]\s*"
    r"|\d{1,3}[.)](?=[^\W\d_])"
)
# the stars of "**1. Soft shadows**" belong to the text, those of "**1.** Soft shadows" do not
MARKED = re.compile(
    rf"^(?:\*\*\d{{1,3}}[.):]?\*\*[.):]?\s*|(?P<bold>\**)(?:{MARK}))"
    r"(?:\[[ xX]\]\s+)?(?P<text>\S.*)$"
)
HEADING = re.compile(r"^#{1,6}\s|^</?\w+>$")  # of Markdown; a tag alone
INLINE_NUMBER = re.compile(r"(?:^|\s)\(?\d{1,2}[.)]\s+(?=\S)")
# keys of JSON objects that hold the attribute itself
ATTRIBUTE_KEYS = (
    *("template", "attribute", "phrase", "feature", "name", "title", "characteristic", "text"),
    "description",
)
LIST_VERBS = re.compile(
    r"\b(?:has|have|features?|shows?|includes?|including|contains?|exhibits?|displays?|such as|"
    r"characteri[sz]ed by)\b:?\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
SHORT = 12  # words of a line or a part of a sentence that can be an attribute


@dataclass
class ParsedAnswer:
    """Templates of an answer, and the rest of it.

    Attributes:
        templates: each with one ``{}``, none twice, in the order of the answer.
        left_out: pieces of the answer that are in no template: introductions, explanations,
            repetitions, what could not be understood.
    """

    templates: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, phrase: str) -> bool:
        """Takes a phrase in as a template, or leaves it out; says which."""
        template = template_of(phrase)
        if template is None or template in self.templates:
            self.leave_out(phrase)
            return False
        self.templates.append(template)
        return True

    def leave_out(self, text: str) -> None:
        """Notes what is in no template."""
        if re.search(r"\w", text):
            self.left_out.append(" ".join(text.split()))


def parse_answer(text: str) -> ParsedAnswer:
    """Templates from an answer: JSON, a Python list, numbered or bulleted lines, with bold headings
    or explanations, a table, plain lines, or prose that enumerates.
    """
    parsed = ParsedAnswer()
    for thought in re.findall(r"<think>.*?</think>", text, re.DOTALL):
        parsed.leave_out(thought)
    text = re.sub(r"<think>.*?</think>", "\n", text, flags=re.DOTALL)
    trial, past = ParsedAnswer(left_out=list(parsed.left_out)), 0
    for value, start, end in _data_in(text):
        before = len(trial.templates)
        found = ParsedAnswer(list(trial.templates), list(trial.left_out))
        _leave_lines_out(text[past:start], found)
        _take_data(value, found)
        if len(found.templates) > before:
            trial, past = found, end
    if trial.templates:
        _leave_lines_out(text[past:], trial)
        return trial
    _take_lines([line.strip() for line in text.splitlines() if line.strip()], parsed)
    return parsed


def _leave_lines_out(text: str, parsed: ParsedAnswer) -> None:
    for line in text.splitlines():
        if not line.strip().startswith("```"):
            parsed.leave_out(line)


def _data_in(text: str) -> Iterator[tuple[Any, int, int]]:
    """JSON values and Python lists in a text, none within another, with start and end."""
    past = 0
    for start in (match.start() for match in re.finditer(r"[\[{]", text)):
        if start < past:
            continue
        try:
            value, past = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            end = text.rfind("]") + 1
            try:
                value, past = ast.literal_eval(text[start:end]), end
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                whole = _whole_part(text[start:])
                if whole is None:
                    continue
                value, past = whole[0], start + whole[1]
        yield value, start, past


def _whole_part(text: str) -> tuple[list[str], int] | None:
    """The whole texts of a JSON list that was cut off, and where they end."""
    match = re.match(r'\[\s*(?:"(?:[^"\\\n]|\\.)*"\s*,\s*)+', text)
    if match is None:
        return None
    return json.loads(match[0].rstrip().rstrip(",") + "]", strict=False), match.end()


def _take_data(value: Any, parsed: ParsedAnswer) -> None:
    if isinstance(value, str):
        parsed.add(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _take_data(item, parsed)
    elif isinstance(value, dict):
        _take_object(value, parsed)
    elif value is not None:
        parsed.leave_out(str(value))


def _take_object(value: dict[Any, Any], parsed: ParsedAnswer) -> None:
    """An attribute with its explanation, a list under a heading, or numbered attributes."""
    keys = [key for key in ATTRIBUTE_KEYS if isinstance(value.get(key), str)]
    # one word is a topic ("Lighting"), several are the attribute
    several = (key for key in keys if " " in clean_phrase(value[key]))
    named = next(several, next(iter(keys), None))
    for key, part in value.items():
        if not isinstance(part, str):
            parsed.leave_out(str(key))
            _take_data(part, parsed)
        elif named is not None:
            (parsed.add if key == named else parsed.leave_out)(part)
        elif re.search(r"[^\W\d_]", str(key)) and " " in str(key).strip():
            parsed.add(str(key))  # "soft shadows": "because the sun is low"
            parsed.leave_out(part)
        else:  # "1": "soft shadows"
            parsed.leave_out(str(key))
            parsed.add(part)


def _take_lines(lines: list[str], parsed: ParsedAnswer) -> None:
    if sum("|" in line[1:] for line in lines) > 1:
        _take_table(lines, parsed)
        return
    found = [_marked(line) for line in lines]
    plain = [line for line in lines if not HEADING.match(line)]
    if any(found):
        for line, item in zip(lines, found, strict=True):
            if item is None:
                parsed.leave_out(line)
            else:
                _take_item(item, parsed)
    elif len(plain) > 1 and sum(_is_attribute(line) for line in plain) > len(plain) / 2:
        for line in lines:
            (parsed.add if _is_attribute(line) else parsed.leave_out)(line)
    else:
        _take_prose(" ".join(lines), parsed)


def _marked(line: str) -> str | None:
    """What follows a number, a letter or a bullet."""
    line = re.sub(r"^(?:>+\s*|#+\s+)+", "", line).replace("\\.", ".").replace("\\)", ")")
    match = MARKED.match(line)
    return (match["bold"] or "") + match["text"] if match else None


def _is_attribute(line: str) -> bool:
    ends = line.endswith((":", "!", "?")) or re.search(r"[.!?]\s+\w", line) or HEADING.match(line)
    return not ends and len(line.split()) <= SHORT


def _take_item(item: str, parsed: ParsedAnswer) -> None:
    """An item of a list; of "heading: explanation" the part that is an attribute."""
    bold = re.match(r"^\*\*(?P<head>[^*]+)\*\*\s*[:\u2013—-]*\s*(?P<body>.*)$", item)
    plain = re.match(r"^(?P<head>[^:]{2,60}?)(?::|\s[\u2013—-])\s+(?P<body>\S.*)$", item)
    match = bold or plain
    if item.rstrip("*").endswith(":"):  # a heading over a nested list
        parsed.leave_out(item)
    elif match is None or not match["body"]:
        parsed.add(item)
    else:
        head, body = clean_phrase(match["head"]), match["body"]
        # one word is a topic ("Lighting"), several are the attribute ("Soft shadows")
        chosen, other = (head, body) if " " in head else (body, head)
        if parsed.add(chosen):
            parsed.leave_out(other)
        elif chosen is body:
            parsed.add(head)


def _take_table(lines: list[str], parsed: ParsedAnswer) -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [re.fullmatch(r"[\s|:+-]+", line) is not None for line in lines]
    for index, (line, row) in enumerate(zip(lines, rows, strict=True)):
        is_header = index + 1 < len(lines) and rules[index + 1]
        if rules[index] or is_header or "|" not in line:
            parsed.leave_out(line)
            continue
        texts = [cell for cell in row if re.search(r"[^\W\d_]", cell)]
        if texts:
            parsed.add(texts[0])
        for cell in texts[1:]:
            parsed.leave_out(cell)


def _take_prose(text: str, parsed: ParsedAnswer) -> None:
    """Running text: numbers within it, an enumeration, or sentences that say what images have."""
    numbered = INLINE_NUMBER.split(text)
    if len(numbered) > 2:
        parsed.leave_out(numbered[0])
        for item in numbered[1:]:
            _take_item(item, parsed)
        return
    sentences = re.split(r"(?<=[.!?])\s+", text)
    parts = _parts(text)
    if len(sentences) == 1 and len(parts) > 2 and all(len(p.split()) <= SHORT for p in parts):
        verb = LIST_VERBS.search(parts[0])
        if not verb:
            for part in parts:
                parsed.add(part)
            return
    for sentence in sentences:
        match = LIST_VERBS.search(sentence)
        if not match:
            parsed.leave_out(sentence)
            continue
        parsed.leave_out(sentence[: match.start("rest")])
        for part in _parts(match["rest"]):
            (parsed.add if len(part.split()) <= SHORT else parsed.leave_out)(part)


def _parts(text: str) -> list[str]:
    """The members of an enumeration."""
    pieces = re.split(r"\s*[,;]\s*(?:and\s+|or\s+)?|\s+and\s+(?=[^,;]*$)", text.strip())
    return [piece for piece in pieces if re.search(r"\w", piece)]
