"""Renaming of checkpoint keys: dict -> dict, no file access."""

from .keys import student_state

__all__ = ["student_state"]
