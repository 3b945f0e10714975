"""Domain templates, text encoders, the making of text banks; imported by tools and tests only."""

from .bank import build_bank, ensure_text_bank, make_text_bank, write_bank
from .encoders import TextEncoder, build_encoder
from .templates import domain_templates, fill_template, load_template_lists

__all__ = [
    "TextEncoder",
    "build_bank",
    "build_encoder",
    "domain_templates",
    "ensure_text_bank",
    "fill_template",
    "load_template_lists",
    "make_text_bank",
    "write_bank",
]
