"""What the benchmarks have in common: a clock that waits for the device, the machine in words."""

import platform
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from ..installation import code_version

try:
    import resource
except ImportError:  # Windows
    resource = None


class Stopwatch:
    """Seconds by name, one entry a call; waits for the device before it reads the clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.last = self.now()

    def now(self) -> float:
        """The clock, after all that was started on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def lap(self, name: str) -> None:
        """Books the time since the last lap under ``name``."""
        now = self.now()
        self.seconds[name].append(now - self.last)
        self.last = now

    def medians(self) -> dict[str, float]:
        """Median seconds by name."""
        return {name: float(np.median(values)) for name, values in self.seconds.items()}

    def table(self) -> str:
        """One row a name: the median, the 90th percentile, the share of the sum of medians."""
        medians = self.medians()
        total = sum(medians.values())
        rows = [
            [name, median, np.percentile(self.seconds[name], 90), f"{100 * median / total:.1f} %"]
            for name, median in medians.items()
        ]
        return tabulate(rows, headers=["part", "median s", "90 % s", "share"], floatfmt=".4f")


def describe_machine() -> str:
    """Device, versions and commit."""
    commit = code_version(short=True) or "unknown"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return (
        f"{device}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, commit {commit}"
    )


def describe_memory() -> str:
    """Peak memory of this process so far, on the host and, where there is one, on the GPU."""
    text = "peak RSS unknown"
    if resource is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak /= 2**20 if sys.platform == "darwin" else 2**10
        text = f"peak RSS {peak:.0f} MiB"
    if torch.cuda.is_available():
        text = f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB\n{text}"
    return text


def peak_mib(pid: int) -> float:
    """Largest resident memory of a running process so far; 0 where Linux does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    kib = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kib[0]) / 1024 if kib else 0.0
