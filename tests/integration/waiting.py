"""Waiting for processes that a test has started."""

import time
from pathlib import Path

PATIENCE = 120  # seconds


def wait_until(happened, process=None):
    """Until a function says so; its process must live as long."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process is None or process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_file(process, file):
    wait_until(Path(file).exists, process)


def wait_for_lines(process, output, lines):
    """Until a run has logged as many iterations."""
    file = Path(output) / "metrics.json"
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") >= lines, process)


def fields(pid):
    """State and parent of a process; "gone" for one that is gone or waits to be collected."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "gone", None
    return ("gone" if state == "Z" else state), int(parent)


def children_of(pid):
    numbers = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [number for number in numbers if fields(number)[1] == pid]
