"""Runs the Triton cases in Triton's interpreter, which is chosen before triton is imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_all_triton_cases_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    files = ("test_triton.py", "test_magnitudes.py", "test_no_second_derivative.py")
    ended = subprocess.run(
        [*command, *(str(Path(__file__).with_name(name)) for name in files), "-k", "triton"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    summary = ended.stdout.splitlines()[-1]
    assert re.fullmatch(r"\d{3,} passed.*", summary), summary  # none skipped
