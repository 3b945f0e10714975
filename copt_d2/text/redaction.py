"""Hides a secret in whatever text quotes it, whole or in part."""

import html
import re

HIDDEN = "(key)"
LONGEST_COINCIDENCE = 7  # so many characters of a long key may stand in a text by chance
# a letter as %41, \u0041, \x41, &#65; or &amp;, and a backslash before a sign
_ESCAPE = re.compile(
    r"%[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|&#?\w{1,8};|\\(?=[^\w\s\\])"
)
# what servers put between the ends of a key that they show
_MASK = re.compile(
    r"(?:[*\u2022\u25cf\u00b7#]{2,}|\u2026|\.{3,}|[xX]{4,})[*\u2022\u25cf\u00b7#\u2026.xX]*"
)

Unit = tuple[str, int, int]  # a character, and where what stands for it begins and ends


def without_secret(text: str, secret: str) -> str:
    """The text with "(key)" in place of a secret.

    Found are the secret, parts of it of at least half its length or 8 characters, both also with
    spaces or line breaks inside and in the escapes of URLs, JSON and HTML (perhaps twice), and its
    ends around asterisks or dots. Upper and lower case are the same in secrets of 12 characters and
    more; a short one may be a word ("EMPTY" is a usual key of servers that want none).

    Args:
        text: any; returned as it is where nothing is found.
        secret: of ASCII characters; "" = there is none.
    """
    secret = "".join(secret.split())
    if not secret:
        return text
    units, fold = _units(text), len(secret) >= 12
    plain = _plain(units, fold)
    # as it is, and as a text that quotes it is read, should it look like an escape
    wanted = {_plain(_units(secret), fold), secret.lower() if fold else secret}
    length = min(len(secret), LONGEST_COINCIDENCE + 1, max(4, len(secret) // 2))
    pieces, end = [], 0  # end of what is copied or hidden
    for first in range(len(plain) - length + 1):
        if any(plain[first : first + length] in form for form in wanted):
            start, last = units[first][1], units[first + length - 1][2]
            if start >= end:  # else the part before goes on
                pieces += [text[end:start], HIDDEN]
            end = last
    return _without_ends("".join([*pieces, text[end:]]), secret)


def _plain(units: list[Unit], fold: bool) -> str:
    """The characters, in lower case where that is a single one and ``fold`` is set."""
    letters = [unit[0] for unit in units]
    return "".join(c.lower() if fold and len(c.lower()) == 1 else c for c in letters)


def _units(text: str) -> list[Unit]:
    """The characters that a text stands for, without spaces."""
    units = [(character, place, place + 1) for place, character in enumerate(text)]
    for _ in range(2):  # an escape may be escaped once more
        plain, decoded, end = "".join(unit[0] for unit in units), [], 0
        for found in _ESCAPE.finditer(plain):
            decoded += units[end : found.start()]
            end = found.end()
            character = _character(found[0])
            if character:
                decoded.append((character, units[found.start()][1], units[end - 1][2]))
        units = decoded + units[end:]
    return [unit for unit in units if not unit[0].isspace()]


def _character(escape: str) -> str:
    """What an escape stands for; "" for a backslash."""
    if escape == "\\":
        return ""
    if escape[0] == "&":
        return html.unescape(escape)[:1]
    return chr(int(escape.lstrip("%\\ux"), 16))


def _without_ends(text: str, secret: str) -> str:
    """Hides "sk-ab****yz"; a single letter beside the asterisks is left."""
    pieces, end = [], 0
    for mask in _MASK.finditer(text):
        lengths = range(len(secret), 1, -1)
        before, after = text[end : mask.start()], text[mask.end() :]
        head = next((n for n in lengths if before.endswith(secret[:n])), 0)
        tail = next((n for n in lengths if after.startswith(secret[-n:])), 0)
        if head or tail:
            pieces += [text[end : mask.start() - head], HIDDEN]
            end = mask.end() + tail
    return "".join([*pieces, text[end:]])
