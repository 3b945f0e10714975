"""Answers of many shapes; whatever is in no template is left out openly."""

import re

import pytest

from copt_d2.errors import InputError
from copt_d2.text import domain_question, parse_answer
from copt_d2.text.phrases import template_of

SOFT, DIM, DARK = "{} with soft shadows", "{} in dim light", "{} with a dark sky"
THREE = [SOFT, DIM, DARK]
SHAPES = {
    "numbered": "1. Soft shadows\n2. In dim light\n3. A dark sky\n",
    "parentheses": "1) soft shadows\n(2) in dim light\n 3 ) a dark sky",
    "bulleted": "- soft shadows\n* in dim light\n• A dark sky.",
    "introduced": "Sure! Here they are:\n\n- soft shadows\n- in dim light\n- a dark sky\n\nEnjoy!",
    "bold": "1. **Soft shadows**\n2. **In dim light.**\n3. __A dark sky__",
    "bold with reasons": (
        "1. **Soft shadows**: The sun is low.\n2. **In dim light** - lamps are few.\n"
        "3. **A dark sky:** Hardly any stars."
    ),
    "topics": "- **Shadows:** soft shadows\n- Light: in dim light\n- Sky: a dark sky",
    "nested": "Light:\n  - soft shadows\n  - in dim light\n\n**Sky:**\n  - a dark sky",
    "json": '["soft shadows", "in dim light", "a dark sky"]',
    "json object": (
        'Here:\n```json\n{"attributes": ["soft shadows", "in dim light", "a dark sky"]}\n```'
    ),
    "json objects": (
        '[{"attribute": "soft shadows", "reason": "low sun"}, {"attribute": "in dim light"}, '
        '{"id": 3, "attribute": "a dark sky"}]'
    ),
    "json by number": '{"1": "soft shadows", "2": "in dim light", "3": "a dark sky"}',
    "json with reasons": '{"soft shadows": "x y", "in dim light": "z", "a dark sky": "q"}',
    "json by topic": '{"light": ["soft shadows", "in dim light"], "sky": ["a dark sky"]}',
    "python": "attributes = ['soft shadows', 'in dim light', 'a dark sky']",
    "templates": "a {} with soft shadows\n{} in dim light\nThe CLASS with a dark sky",
    "placeholders": (
        "- a [CLASS] with soft shadows\n- <object> in dim light\n- {class} with a dark sky"
    ),
    "table": (
        "| # | Attribute | Why |\n|---|:--|---|\n| 1 | soft shadows | sun |\n"
        "| 2 | in dim light | lamps |\n| 3 | a dark sky | night |"
    ),
    "plain lines": "Soft shadows\nIn dim light\nA dark sky",
    "quoted lines": '"soft shadows",\n"in dim light",\n“a dark sky”',
    "enumeration": "Soft shadows, in dim light, and a dark sky.",
    "within a line": "A night image: 1) soft shadows 2) in dim light 3) a dark sky",
    "thought about": (
        "<think>1. maybe fog? 2. no</think>\n1. soft shadows\n2. in dim light\n3. a dark sky"
    ),
    "letters": "a) soft shadows\nb) in dim light\nc) a dark sky",
    "repeated": "1. soft shadows\n2. in dim light\n3. Soft shadows.\n4. a dark sky",
    "escaped": "1\\. soft shadows\n2\\. in dim light\n3\\. a dark sky",
    "quotation": "> - soft shadows\n> - in dim light\n> - a dark sky",
    "numbers and dashes": "1 - soft shadows\n2 \u2013 in dim light\n3 - a dark sky",
    "numbers without a space": "1.soft shadows\n2.in dim light\n3)a dark sky",
    "bold numbers": "**1.** Soft shadows\n**2.** In dim light\n**3:** A dark sky",
    "signs of numbers": "#1 soft shadows\n#2 in dim light\n#3 a dark sky",
    "attributes by number": (
        "Attribute 1: soft shadows\nAttribute 2: in dim light\nAttribute 3: a dark sky"
    ),
    "roman": "I. soft shadows\nII. in dim light\nIII. a dark sky",
    "boxes": "- [ ] soft shadows\n- [x] in dim light\n- [ ] a dark sky",
    "headings": "# Light\n\nsoft shadows\nin dim light\n\n## Sky\n\na dark sky",
    "tags": "<ul>\n<li>soft shadows</li>\n<li>in dim light</li>\n<li>a dark sky</li>\n</ul>",
    "pictures": "🌙 soft shadows\n✅ in dim light\n🌫️ a dark sky",
    "the question's words": (
        "1. an object with soft shadows\n2. An object in dim light\n3. objects with a dark sky"
    ),
    "doubled braces": "- {{}} with soft shadows\n- {{ }} in dim light\n- {{}} with a dark sky",
    "a JSON object a line": (
        '{"attribute": "soft shadows"}\n{"attribute": "in dim light"}\n{"attribute": "a dark sky"}'
    ),
    "two JSON lists": '["soft shadows"]\n\n["in dim light", "a dark sky"]',
    "JSON with topics": (
        '[{"name": "Light", "description": "soft shadows"}, {"name": "Lamps", "description": '
        '"in dim light"}, {"name": "Sky", "description": "a dark sky"}]'
    ),
    "windows": "1. soft shadows\r\n2. in dim light\r\n3. a dark sky\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_templates(shape):
    assert parse_answer(SHAPES[shape]).templates == THREE


# words that say what is a list and not what is in it
SAID_BY_THE_SHAPE = {"a", "the", "an", "class", "object", "json", "attributes", "attribute", "id"}
SAID_BY_THE_SHAPE |= {"name", "description", "objects", "ul", "li", "i", "ii", "iii", "x"}
SAID_BY_THE_SHAPE |= {"reason", "1", "2", "3", "4", "b", "c", "with", "and"}


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_dropped_in_silence(shape):
    parsed = parse_answer(SHAPES[shape])
    kept = " ".join([*parsed.templates, *parsed.left_out]).lower()
    words = set(re.findall(r"[^\W_]+", SHAPES[shape].lower())) - SAID_BY_THE_SHAPE
    assert words - set(re.findall(r"[^\W_]+", kept)) == set()


def test_a_json_list_that_was_cut_off_gives_its_whole_texts():
    parsed = parse_answer('```json\n["soft shadows", "in dim light", "a dark sky", "glowing wi')
    assert parsed.templates == THREE
    assert parsed.left_out == ['"glowing wi']


def test_an_answer_of_brackets_is_no_trouble():
    assert parse_answer("[" * 3000 + "soft").templates == []


def test_prose():
    answer = (
        "Night-time images have low contrast, deep shadows and glowing headlights. They often "
        "include reflections on wet asphalt. This is typical of cities."
    )
    parsed = parse_answer(answer)
    assert parsed.templates == [
        *("{} with low contrast", "{} with deep shadows", "{} with glowing headlights"),
        "{} with reflections on wet asphalt",
    ]
    assert parsed.left_out[-1] == "This is typical of cities."


def test_what_is_left_out_is_told():
    parsed = parse_answer(SHAPES["bold with reasons"])
    assert parsed.left_out == ["The sun is low.", "lamps are few.", "Hardly any stars."]
    assert parse_answer(SHAPES["repeated"]).left_out == ["Soft shadows."]


@pytest.mark.parametrize(
    "answer",
    ["", "  \n", "I'm sorry, I can't help with that.", "42", "[]", "{}", "```\n```", "[1, 2, 3]"],
)
def test_an_answer_without_attributes_gives_none(answer):
    parsed = parse_answer(answer)
    assert parsed.templates == []
    assert not re.search(r"\w", answer) or parsed.left_out


@pytest.mark.parametrize(
    ("phrase", "template"),
    [
        ("Soft shadows.", "{} with soft shadows"),
        ("LED glare", "{} with LED glare"),
        ("that glows", "{} that glows"),
        ("a washed-out look", "{} with a washed-out look"),
        ("edges look soft", "{} in a scene where edges look soft"),
        ("柔和的阴影。", "{} with 柔和的阴影"),
        ("lit by neon signs", "{} lit by neon signs"),
        ("covered with snow", "{} covered with snow"),
        ("reduced visibility", "{} with reduced visibility"),
        ("glowing headlights", "{} with glowing headlights"),
        ("glowing in the dark", "{} glowing in the dark"),
        ("in-focus details", "{} with in-focus details"),
        ("The sky is dark", "{} in a scene where the sky is dark"),
        ("shadows that are soft", "{} with shadows that are soft"),
        ("The image often has soft shadows", "{} with soft shadows"),
        ("柔和的阴影", "{} with 柔和的阴影"),
        ("f/1.4 look {wide}", "{} in a scene where f/1.4 look {wide}"),
        ("a {} beside a {}", None),
        ("CLASS", None),
        ("...", None),
        ("word " * 26, None),
    ],
)
def test_phrases(phrase, template):
    assert template_of(phrase) == template


def test_the_question_is_the_papers():
    question = domain_question("night-time street", count=12)
    assert "what makes a night-time street image look night-time street?" not in question
    assert (
        "detailed descriptions of what makes a night-time street image look night-time" in question
    )
    assert "12 short" in question
    assert "attached" not in question
    assert "2 attached image(s)" in domain_question("fog", images=2)
    assert "{0} {}" in domain_question("{0} {}")


@pytest.mark.parametrize(("domain", "count"), [("", 5), (" - ", 5), ("fog", 0)])
def test_a_question_about_nothing_is_refused(domain, count):
    with pytest.raises(InputError):
        domain_question(domain, count)
