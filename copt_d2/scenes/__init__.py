"""Procedural street scenes in the Cityscapes label space, in the data sets' own on-disk formats."""

from .benchmark import BENCHMARKS, plan_benchmark, plan_scenes, write_benchmark
from .render import render_scene
from .styles import STYLES

__all__ = [
    "BENCHMARKS",
    "STYLES",
    "plan_benchmark",
    "plan_scenes",
    "render_scene",
    "write_benchmark",
]
