"""From a phrase about a domain to a template: "soft shadows" -> "{} with soft shadows"."""

import re

from .templates import PLACEHOLDER

MAX_WORDS = 25
# words that a language model writes where the class name belongs, with an article before them
CLASS_WORDS = re.compile(
    r"^(?:an\s+object|objects)(?=\s)"
    r"|(?:\b(?:an?|the)\s+)?(?:\{+\s*(?:class|object|item|thing)?(?:[ _]name)?\s*\}+"
    r"|[\[<](?:class|object|item|thing)(?:[ _]name)?[\]>]|\b(?-i:CLASS|OBJECT)\b)",
    re.IGNORECASE,
)
# what follows "a car" without a "with" before it
CONNECTOR = re.compile(
    r"(?:"
    r"with|without|that|which|whose|where|while|when|as|in|into|inside|within|under|"
    r"underneath|on|at|against|by|behind|beneath|below|above|near|next|from|among|amid|"
    r"between|of|off|over|through|throughout|during|before|after|beside|along|across|around|"
    r"outside|like|to|toward|towards|half|partly|partially|hardly|barely|slightly|seen|lit"
    r")(?![\w-])"
)
PARTICIPLE = re.compile(
    r"\w+(?:ed|ing) (?:"
    r"a|an|the|in|by|with|under|on|at|from|into|through|against|to|of|as|over|behind|"
    r"between"
    r")(?![\w-])"
)
SENTENCE = re.compile(
    r"\b(?:is|are|was|were|looks?(?=\s+[^\s,])|appears?|seems?|has|have|becomes?|tends?)\b",
    re.IGNORECASE,
)
RELATIVE = re.compile(r"\b(?:that|which|whose|who|where|when)\b", re.IGNORECASE)
# "The image often has soft shadows" says no more than "soft shadows"
ABOUT_THE_IMAGE = re.compile(
    r"^(?:(?:the|an?|such|these|this|most|its?)\s+)?(?:[\w-]+\s+){0,3}?"
    r"(?:images?|pictures?|photos?|photographs?|scenes?|it|they)\s+"
    r"(?:(?:often|usually|typically|generally|also|may|can|tend to|will)\s+)*"
    r"(?:has|have|shows?|features?|contains?|displays?|exhibits?|includes?)\s+",
    re.IGNORECASE,
)


def clean_phrase(text: str) -> str:
    """A phrase without Markdown, quotes around it and punctuation at its end."""
    text = re.sub(r"(\*\*|__|`)", "", text)
    text = re.sub(r"(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)", "", text)
    text = re.sub(r"</?\w+>", "", text)
    text = " ".join(text.replace("\\", "").split())
    text = re.sub(r"^[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff\s]+(?=\w)", "", text)  # pictures
    return text.strip(" \t\"'“”\u2018\u2019«»,;:.…。").strip()


def template_of(phrase: str) -> str | None:
    """The template that a phrase stands for.

    Args:
        phrase: "soft shadows", "under a dark sky", "The sky is dark", "a {} with soft shadows".
    Returns:
        A text with exactly one ``{}``; ``None`` if the phrase says nothing or is too long.
    """
    phrase = clean_phrase(phrase)
    if not re.search(r"[^\W\d_]", phrase) or len(phrase.split()) > MAX_WORDS:
        return None
    marked, count = CLASS_WORDS.subn(PLACEHOLDER, phrase)
    if count:
        says_more = re.search(r"[^\W\d_]", marked.replace(PLACEHOLDER, ""))
        return marked if count == 1 and says_more else None
    phrase = _lower_first(ABOUT_THE_IMAGE.sub("", phrase))
    if CONNECTOR.match(phrase.lower()) or PARTICIPLE.match(phrase.lower()):
        return f"{PLACEHOLDER} {phrase}"
    if SENTENCE.search(RELATIVE.split(phrase)[0]):
        return f"{PLACEHOLDER} in a scene where {phrase}"
    return f"{PLACEHOLDER} with {phrase}"


def _lower_first(phrase: str) -> str:
    first = phrase.split()[0]
    is_name = len(first) > 1 and not first[1:].islower()  # LED, 3D, McX
    return phrase if is_name else phrase[0].lower() + phrase[1:]
