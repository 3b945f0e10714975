"""Renaming of checkpoint keys: dict -> dict, no file access."""

from .keys import student_state
from .mit import convert_mit

__all__ = ["convert_mit", "student_state"]
