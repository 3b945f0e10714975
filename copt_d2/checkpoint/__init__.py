"""Renaming of checkpoint keys: dict -> dict, no file access."""

from .digest import tensors_digest
from .keys import ALIASES, PARTS, network_names
from .mit import convert_mit, mit_names
from .mmseg import convert_mmseg, has_released_names

__all__ = [
    "ALIASES",
    "PARTS",
    "convert_mit",
    "convert_mmseg",
    "has_released_names",
    "mit_names",
    "network_names",
    "tensors_digest",
]
