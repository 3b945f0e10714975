"""Data sets, mappers and loaders. Importing it registers the data sets."""

from .datasets import register_all, register_dataset
from .description import register_description
from .loader import build_uda_test_loader, build_uda_train_loader
from .mappers import SourceMapper, TargetMapper, TestMapper

register_all()

__all__ = [
    "SourceMapper",
    "TargetMapper",
    "TestMapper",
    "build_uda_test_loader",
    "build_uda_train_loader",
    "register_dataset",
    "register_description",
]
