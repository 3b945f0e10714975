"""Own data in one YAML file: reading it, finding its files, registering its data sets."""

from .read import description_of, read_description
from .register import Registered, register_all_of, register_description
from .schema import Description

__all__ = [
    "Description",
    "Registered",
    "description_of",
    "read_description",
    "register_all_of",
    "register_description",
]
