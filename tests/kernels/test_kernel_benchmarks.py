"""``pytest tests/kernels --benchmark-only``: ours beside three other ways, on the CPU and the GPU.

Every way is compared with the first before it is timed. Within a case the ways take turns, so that
what disturbs the machine disturbs all of them. At the end the tables are printed.
"""

import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import baselines
import copt_kernels
import kernel_builds
import pytest
import torch
from tabulate import tabulate

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ROUNDS = 5
# N, C, feature side, label side, K; the first is the paper's
SHAPES = [(2, 512, side, 1024, k) for side in (16, 32, 128) for k in (19, 150)]
PAPER = SHAPES[0]
TABLES = defaultdict(list)


def ours(features, labels, text_cov, bank):
    return copt_kernels.pooled_covariance_loss(features, labels, text_cov, bank)[0]


WAYS = {
    "per-class loop": baselines.per_class_loop,
    "one-hot product": baselines.one_hot_product,
    "index_add": baselines.index_add,
    "ours": ours,
}


def draw(shape, device):
    """Features (with gradient), labels with some ignored, text covariance, bank."""
    n, c, side, label_side, k = shape
    features = torch.randn(n, c, side, side, device=device, requires_grad=True)
    labels = torch.randint(0, k + 1, (n, label_side, label_side), device=device)
    labels = labels.masked_fill(labels == k, 255)
    text_cov = copt_kernels.class_covariance(torch.randn(k, 512, device=device))
    return features, labels, text_cov, torch.randn(k, c, device=device)


def run(way, inputs, backward):
    """Loss, and with ``backward`` its gradient by the features."""
    loss = way(*inputs)
    return torch.autograd.grad(loss, inputs[0])[0] if backward else loss.detach()


def seconds(function, device, repeats=1):
    """Seconds of one call, of ``repeats`` in a row."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def peak_memory(function, device):
    """Most bytes that one call holds at a time beyond what was there before."""
    function()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    events = profile.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = most = 0
    for _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most


def take_turns(benchmark, functions, device, repeats):
    """Median seconds of each; ``benchmark`` times the last, the others run before each round."""
    times = {name: [] for name in functions}
    *others, last = functions
    for function in functions.values():
        function()

    def before():
        for name in others:
            times[name].append(seconds(functions[name], device, repeats))

    def timed():
        times[last].append(seconds(functions[last], device, repeats))

    benchmark.pedantic(timed, setup=before, rounds=ROUNDS)
    return {name: statistics.median(values) for name, values in times.items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_loss(benchmark, shape, backward, device):
    inputs = draw(shape, device)
    functions = {name: partial(run, way, inputs, backward) for name, way in WAYS.items()}
    first, *others = functions.values()
    expected = first()
    for function in others:
        scale = expected.abs().max().item()
        torch.testing.assert_close(function(), expected, rtol=1e-3, atol=1e-4 * scale)
    repeats = 1 if shape[2] == 128 else 5
    found = take_turns(benchmark, functions, device, repeats)
    memory = {name: peak_memory(function, device) for name, function in functions.items()}
    kind = "forward + backward" if backward else "forward"
    n, c, side, _, k = shape
    for name, median in found.items():
        TABLES[device].append(
            [
                *(f"{n}x{c}x{side}x{side}", k, kind, name, f"{1e3 * median:.3f}"),
                *(f"{found['per-class loop'] / median:.1f}", f"{memory[name] / 2**20:.1f}"),
            ]
        )
    benchmark.extra_info |= found


@pytest.mark.parametrize("device", DEVICES)
def test_bilinear(benchmark, device):
    """The mean of upsampled features: making them, and not."""
    features, labels, *_ = draw((1, 128, 16, 1024, 19), device)

    def step(way):
        means = way(features, labels, 19)
        return torch.autograd.grad(means.square().sum(), features)[0]

    def without(*arguments):
        return copt_kernels.class_means(*arguments, mode="bilinear")[0]

    functions = {
        "upsampled features": partial(step, baselines.upsampled_means),
        "ours": partial(step, without),
    }
    expected = functions["upsampled features"]()
    torch.testing.assert_close(functions["ours"](), expected, rtol=1e-3, atol=1e-6)
    found = take_turns(benchmark, functions, device, 1)
    memory = {name: peak_memory(function, device) for name, function in functions.items()}
    shape = "1x128x16x16, labels 1024x1024"
    for name in functions:
        row = [f"{1e3 * found[name]:.1f}", f"{memory[name] / 2**20:.1f}"]
        TABLES[f"bilinear on {device}"].append([shape, name, *row])
    # by number of elements, 8 times as many
    slow, most = 8 * found["upsampled features"], 8 * memory["upsampled features"]
    row = [f"~{1e3 * slow:.0f}", f"~{most / 2**20:.0f}"]
    TABLES[f"bilinear on {device}"].append(
        ["2x512x16x16 (estimate, not run)", "upsampled features", *row]
    )
    features, labels, *_ = draw((2, 512, 16, 1024, 19), device)
    functions["ours"]()
    row = [f"{1e3 * seconds(functions['ours'], device, 3):.1f}"]
    row.append(f"{peak_memory(functions['ours'], device) / 2**20:.1f}")
    TABLES[f"bilinear on {device}"].append(["2x512x16x16, labels 1024x1024", "ours", *row])


def replay_microseconds(function, calls=1):
    """Median microseconds of a CUDA graph that holds ``calls`` calls, replayed back to back."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            function()
    times, replays = [], 200
    for _ in range(7):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(replays):
            graph.replay()
        stop.record()
        stop.synchronize()
        times.append(1e3 * start.elapsed_time(stop) / replays / calls)
    return statistics.median(times)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_graph_replay(benchmark):
    """Forward and backward under CUDA-graph replay, beside as many empty kernels."""
    import triton

    @triton.jit
    def empty_kernel(memory):
        pass

    inputs = draw(PAPER, "cuda")
    features = inputs[0]
    memory, gradient = torch.zeros(1, device="cuda"), torch.ones((), device="cuda")

    def step(way):
        return torch.autograd.grad(way(*inputs), features, gradient)

    def by_parts(features, labels, text_cov, bank):
        means, mass = copt_kernels.class_means(features, labels, len(bank))
        return copt_kernels.covariance_loss(means, mass, text_cov, bank)[0]

    def mode(name):
        return lambda *inputs: copt_kernels.pooled_covariance_loss(*inputs, mode=name)[0]

    def empty(number):
        for _ in range(number):
            empty_kernel[(1,)](memory)

    rows = {
        "three empty kernels (the launch floor)": partial(empty, 3),
        "ours": partial(step, ours),
        "ours, area": partial(step, mode("area")),
        "ours, bilinear": partial(step, mode("bilinear")),
        "class_means, then covariance_loss": partial(step, by_parts),
        "one-hot product": partial(step, baselines.one_hot_product),
        "index_add": partial(step, baselines.index_add),
    }
    for name, function in rows.items():
        alone, many = replay_microseconds(function), replay_microseconds(function, 20)
        TABLES["CUDA graph replay"].append([name, f"{alone:.1f}", f"{many:.1f}"])
    benchmark.pedantic(rows["ours"], rounds=ROUNDS)


def test_resources_of_the_kernels(benchmark):
    """Registers, spilled bytes and shared memory of each compiled kernel."""

    def build():
        for name in kernel_builds.BUILDS:
            for target in kernel_builds.TARGETS:
                TABLES["kernels"].append([name, target, *kernel_builds.resources(name, target)])

    benchmark.pedantic(build, rounds=1)


HEADERS = {
    "kernels": ["kernel", "target", "registers", "spilled bytes", "shared bytes"],
    "CUDA graph replay": ["forward + backward", "us, one a graph", "us, of 20 in a graph"],
    "bilinear": ["features", "way", "forward + backward ms", "peak extra MiB"],
    "loss": ["features", "K", "pass", "way", "ms", "loop / this", "peak extra MiB"],
}


def report():
    """Lines of all tables, with what they were measured on."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    threads = torch.get_num_threads()
    yield f"{platform.machine()}, {threads} threads, Python {platform.python_version()},"
    yield f"torch {torch.__version__}, commit {commit}; median of {ROUNDS} rounds in turns"
    if torch.cuda.is_available():
        triton = sys.modules.get("triton")
        yield f"{torch.cuda.get_device_name()}, triton {triton and triton.__version__}"
    for name, rows in TABLES.items():
        kind = "bilinear" if name.startswith("bilinear") else name
        yield ""
        yield f"{name}:"
        yield from tabulate(rows, HEADERS.get(kind, HEADERS["loss"]), "github").splitlines()
