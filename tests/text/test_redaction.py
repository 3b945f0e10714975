"""A secret is found in whatever form a text quotes it, and other words stay."""

import json
from urllib.parse import quote

import pytest

from copt_d2.text.redaction import without_secret

KEY = "sk-Proj-7f3QzY+/w91bT=x"


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        (f"wrong key {KEY}", "wrong key (key)"),
        (f"Authorization: Bearer {KEY}\n", "Authorization: Bearer (key)\n"),
        (f"{KEY}{KEY}", "(key)(key)"),
        (f"a {KEY}, b '{KEY}'", "a (key), b '(key)'"),
        (f"?key={quote(KEY, safe='')}&x=1", "?key=(key)&x=1"),
        (f"?key={quote(quote(KEY, safe=''), safe='')}", "?key=(key)"),
        ("".join(f"%{ord(c):02x}" for c in KEY), "(key)"),
        ("".join(f"\\u{ord(c):04x}" for c in KEY), "(key)"),
        ("".join(f"&#{ord(c)};" for c in KEY), "(key)"),
        (json.dumps(KEY).replace("/", "\\/"), '"(key)"'),
        (f"cut: {KEY[:14]}", "cut: (key)"),
        (f"cut: {KEY[5:15]} and on", "cut: (key) and on"),
        (f"broken {KEY[:9]}\n  {KEY[9:]} in two", "broken (key) in two"),
        (KEY.lower(), "(key)"),
        (f"provided: {KEY[:5]}*************{KEY[-4:]}. See", "provided: (key). See"),
        (f"provided: {KEY[:2]}...", "provided: (key)"),
        (f"provided: ****{KEY[-3:]}", "provided: (key)"),
    ],
)
def test_a_key_is_hidden(quoted, shown):
    assert without_secret(quoted, KEY) == shown


@pytest.mark.parametrize("key", ["ab%41cdefgh", "a\\u0041bcdefg", "p@ss", "xyz", "&amp;key"])
def test_keys_that_look_like_escapes_or_are_short(key):
    assert without_secret(f"it says: '{key}'.", key) == "it says: '(key)'."
    assert without_secret(quote(key, safe=""), key) == "(key)"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("an empty answer", "EMPTY"),
        ("50%41 and \\u00e4 &amp; so on... **bold** x", KEY),
        ("soft shadows, a project with 7f3", KEY),
        ("İ ẞ 自行车 %E8%87%AA", KEY),
        ("no key at all: ", ""),
        ("", KEY),
    ],
)
def test_other_words_stay(text, key):
    assert without_secret(text, key) == text


def test_a_long_text_is_no_matter():
    assert without_secret("A" * 30_000 + KEY, KEY) == "A" * 30_000 + "(key)"
