"""Benchmarks are collected with ``--benchmark-only`` alone; their tables are printed at the end."""

BENCHMARKS = "test_kernel_benchmarks.py"


def pytest_ignore_collect(collection_path, config):
    if collection_path.name == BENCHMARKS and not config.getoption("benchmark_only", default=False):
        return True
    return None  # others decide


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("benchmark_only", default=False):
        import test_kernel_benchmarks

        for line in test_kernel_benchmarks.report():
            terminalreporter.write_line(line)
