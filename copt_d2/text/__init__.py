"""Domain templates, text encoders, the making of text banks; imported by tools and tests only."""

from .bank import (
    BankRecipe,
    build_bank,
    build_bank_of,
    ensure_text_bank,
    make_text_bank,
    write_bank,
)
from .encoders import EncoderOptions, TextEncoder, build_encoder
from .templates import domain_templates, fill_template, load_template_lists, template_groups

__all__ = [
    "BankRecipe",
    "EncoderOptions",
    "TextEncoder",
    "build_bank",
    "build_bank_of",
    "build_encoder",
    "domain_templates",
    "ensure_text_bank",
    "fill_template",
    "load_template_lists",
    "make_text_bank",
    "template_groups",
    "write_bank",
]
