"""Domain templates, text encoders, the making of text banks; imported by tools and tests only."""

from .answers import ParsedAnswer, parse_answer
from .bank import (
    BankRecipe,
    build_bank,
    build_bank_of,
    ensure_text_bank,
    make_text_bank,
    write_bank,
)
from .encoders import EncoderOptions, TextEncoder, build_encoder
from .language_models import ChatServer, LocalModel
from .question import domain_question
from .templates import domain_templates, fill_template, load_template_lists, template_groups

__all__ = [
    "BankRecipe",
    "ChatServer",
    "EncoderOptions",
    "LocalModel",
    "ParsedAnswer",
    "TextEncoder",
    "build_bank",
    "build_bank_of",
    "build_encoder",
    "domain_question",
    "domain_templates",
    "ensure_text_bank",
    "fill_template",
    "load_template_lists",
    "make_text_bank",
    "parse_answer",
    "template_groups",
    "write_bank",
]
