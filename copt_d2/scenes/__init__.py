"""Procedural street scenes in the Cityscapes label space, in the data sets' own on-disk formats."""

from .benchmark import BENCHMARKS, plan_benchmark, write_benchmark
from .render import render_scene

__all__ = ["BENCHMARKS", "plan_benchmark", "render_scene", "write_benchmark"]
