"""The paper's tables beside our runs, from their evaluation records."""

from .pictures import Readers, split_by_export, write_sheets
from .runs import read_runs
from .tables import build_report

__all__ = ["Readers", "build_report", "read_runs", "split_by_export", "write_sheets"]
