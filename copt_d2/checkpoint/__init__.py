"""Renaming of checkpoint keys: dict -> dict, no file access."""

from .digest import tensors_digest
from .keys import student_state
from .mit import convert_mit
from .mmseg import convert_mmseg, is_released

__all__ = ["convert_mit", "convert_mmseg", "is_released", "student_state", "tensors_digest"]
