"""What the values of config keys must be, key by key."""

from typing import Any

from detectron2.config import CfgNode

from ...errors import InputError
from .kinds import Kind, shown
from .table import TABLE

__all__ = ["TABLE", "Kind", "check_values", "shown", "value_of"]


def value_of(cfg: CfgNode, key: str) -> Any:
    """The value of a dotted key.

    Raises:
        KeyError: if there is none.
    """
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def check_values(cfg: CfgNode) -> None:
    """Looks at type, range and length of every value in `TABLE`, each for itself.

    Raises:
        InputError: naming the first key whose value is wrong, the value and what it must be.
    """
    for key, kind in TABLE.items():
        fault = kind.fault(value_of(cfg, key))
        if fault is not None:
            raise InputError(f"{key} {fault}")
