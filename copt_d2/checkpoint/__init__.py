"""Renaming of checkpoint keys: dict -> dict, no file access."""

from .keys import student_state
from .mit import convert_mit
from .mmseg import convert_mmseg

__all__ = ["convert_mit", "convert_mmseg", "student_state"]
