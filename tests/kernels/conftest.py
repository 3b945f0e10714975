"""Benchmarks run with ``--benchmark-only`` alone; their tables are printed at the end."""

import pytest


def pytest_collection_modifyitems(config, items):
    if not config.getoption("benchmark_only", default=False):
        reason = "a benchmark: pytest tests/kernels --benchmark-only"
        for item in items:
            if item.path.name == "test_kernel_benchmarks.py":
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("benchmark_only", default=False):
        import test_kernel_benchmarks

        for line in test_kernel_benchmarks.report():
            terminalreporter.write_line(line)
