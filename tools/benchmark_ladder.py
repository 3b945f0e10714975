"""The ladder from source-only to the full method, over seeds: runs what is missing, prints the
table.

python tools/benchmark_ladder.py --config-file configs/camvid_day2dusk.yaml [--seeds 0,1,2]
[--jobs 2] [KEY VALUE ...]

Each finished (row, seed) is kept as a small JSON file under --results; a row whose config has
changed since is run again.
"""

import argparse
import hashlib
import json
import os
import platform
import queue
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from copt_d2.engine import check_config, chosen_values, load_config
from copt_d2.errors import InputError
from copt_d2.installation import code_version

TRAIN = Path(__file__).resolve().with_name("train_net.py")
PLAIN = ["INPUT.PHOTOMETRIC_DISTORTION", "False", "DATALOADER.RARE_CLASS.ENABLED", "False"]
SOURCE = ["MODEL.UDA.PHASES", "('source',)", "MODEL.UDA.FEATURE_LOSSES", "()"]
DISTANCE = ["MODEL.UDA.FEATURE_LOSSES", "('FeatureDistanceLoss',)"]
FAIR, FULL, EQUAL_TIME = "+ rare-class sampling", "+ CoPT", "source-only, same wall time"


@dataclass
class Row:
    """One method of the ladder: overrides on the config file of the full method."""

    name: str
    overrides: list[str] = field(default_factory=list)


def ladder_rows(labelled_target: tuple[str, ...], train: tuple[str, ...]) -> list[Row]:
    """The rows in order; the last two are no steps: the control for time, and the upper bound."""
    return [
        Row("source-only", SOURCE + PLAIN),
        Row("+ photometric distortion", SOURCE + PLAIN[2:]),
        Row(FAIR, SOURCE),
        Row("+ self-training", [*DISTANCE, "MODEL.UDA.PHASES", "('source','mixed')"]),
        Row("+ masked pass", DISTANCE),
        Row(FULL),
        Row(EQUAL_TIME, SOURCE),
        Row("oracle", [*SOURCE, "DATASETS.TRAIN", repr((*train, *labelled_target))]),
    ]


def file_stem(row: Row, seed: int) -> str:
    """Name of the result file of one run."""
    words = "".join(c if c.isalnum() else " " for c in row.name).split()
    return "_".join([*words, f"seed{seed}"])


def config_digest(config_file: str, overrides: list[str]) -> str:
    """Hash of all that the config sets, without what does not change the result; a key that is
    added to the project later changes nothing.
    """
    chosen = chosen_values(load_config(config_file, overrides))
    for key in ("OUTPUT_DIR", "MODEL.DEVICE"):
        chosen.pop(key, None)
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def read_result(results: Path, row: Row, seed: int) -> dict | None:
    """The kept result of one run, or ``None``."""
    path = results / f"{file_stem(row, seed)}.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged ({error}): delete it, it is made again") from error


def run_once(config_file: str, overrides: list[str], folder: Path, jobs: int) -> dict:
    """Trains and evaluates in a process of its own; its scores and seconds."""
    command = [sys.executable, str(TRAIN), "--config-file", config_file]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # with a single thread, 1x1 convolutions leave oneDNN and take several times as long
    environment = {"OMP_NUM_THREADS": "2"} | os.environ if jobs > 1 else None
    start = time.time()
    with open(folder / "stdout.txt", "w") as log:
        finished = subprocess.run(
            [*command, *overrides, "OUTPUT_DIR", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    seconds = time.time() - start
    if finished.returncode:
        last = (folder / "stdout.txt").read_text().strip().splitlines()[-1]
        raise InputError(f"a run of the ladder failed: {last} (log: {folder / 'stdout.txt'})")
    scores = {}
    for path in sorted((folder / "evaluation").glob("*.json")):
        record = json.loads(path.read_text())
        scores[record["dataset"]] = {"mIoU": record["mIoU"], "IoU": record["IoU"]}
    return {"seconds": round(seconds, 1), "scores": scores}


def equal_time_iterations(results: Path, seeds: list[int], max_iter: int) -> int | None:
    """Iterations of the fair baseline that take as long as the full method, by the kept seconds."""
    times = {}
    for name in (FAIR, FULL):
        kept = [read_result(results, Row(name), seed) for seed in seeds]
        if None in kept:
            return None
        times[name] = float(np.median([result["training_seconds"] for result in kept]))
    return int(round(max_iter * times[FULL] / times[FAIR], -1))


def training_seconds(folder: Path) -> float:
    """Iterations times the median time of one, from metrics.json: without start and evaluation."""
    entries = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    step = np.median([entry["time"] for entry in entries if "time" in entry])
    return float(step * (max(entry["iteration"] for entry in entries) + 1))


def run_ladder(arguments: argparse.Namespace, rows: list[Row]) -> None:
    """Runs every (row, seed) whose result is missing or of another config."""
    base = load_config(arguments.config_file, arguments.opts)
    for row in rows:  # a mistake in the last row must not show after hours
        check_config(load_config(arguments.config_file, [*arguments.opts, *row.overrides]))
    runs = [(row, seed, []) for seed in arguments.seeds for row in rows if row.name != EQUAL_TIME]
    run_all(arguments, runs)
    iterations = equal_time_iterations(arguments.results, arguments.seeds, base.SOLVER.MAX_ITER)
    row = next(row for row in rows if row.name == EQUAL_TIME)
    longer = ["SOLVER.MAX_ITER", str(iterations)]
    run_all(arguments, [(row, seed, longer) for seed in arguments.seeds])


def run_all(arguments: argparse.Namespace, runs: list[tuple[Row, int, list[str]]]) -> None:
    """``arguments.jobs`` runs at a time, each on its own share of the cores; stops at a failure."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shares = queue.SimpleQueue()
    for job in range(arguments.jobs):
        shares.put(cores[job :: arguments.jobs])

    def take_cores() -> None:
        # holds for this thread and for the processes that it starts
        share = shares.get()
        if arguments.jobs > 1 and share:
            os.sched_setaffinity(0, share)

    with ThreadPoolExecutor(arguments.jobs, initializer=take_cores) as pool:
        waiting = [pool.submit(run_missing, arguments, *run) for run in runs]
        try:
            for run in waiting:
                run.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_missing(arguments: argparse.Namespace, row: Row, seed: int, more: list[str]) -> None:
    """Runs one (row, seed) unless its result is there, and keeps the result."""
    overrides = [*arguments.opts, *row.overrides, "SEED", str(seed), *more]
    digest = config_digest(arguments.config_file, overrides)
    kept = read_result(arguments.results, row, seed)
    if kept is not None and kept["config"] == digest:
        return
    print(f"running {row.name}, seed {seed}", flush=True)
    folder = arguments.out / file_stem(row, seed)
    result = run_once(arguments.config_file, overrides, folder, arguments.jobs)
    result |= {"row": row.name, "seed": seed, "config": digest, "overrides": overrides}
    result["training_seconds"] = round(training_seconds(folder), 1)
    result["commit"] = code_version(short=True) or ""
    result["jobs"] = arguments.jobs
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"{file_stem(row, seed)}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)


def mean_and_spread(values: list[float]) -> str:
    """Mean ± half the range; a single run has no spread."""
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def print_table(arguments: argparse.Namespace, rows: list[Row], tests: list[str]) -> None:
    """Markdown: mean ± half range over the seeds; a dash where a run is missing."""
    results, seeds = arguments.results, arguments.seeds
    lines, made_by = [], set()
    for row in rows:
        kept = [r for r in (read_result(results, row, seed) for seed in seeds) if r is not None]
        if not kept:
            lines.append([row.name, *["-"] * (len(tests) + 2)])
            continue
        scores = [mean_and_spread([r["scores"][test]["mIoU"] for r in kept]) for test in tests]
        seconds = f"{np.mean([r['seconds'] for r in kept]):.0f}"
        same = all(
            r["config"] == config_digest(arguments.config_file, r["overrides"]) for r in kept
        )
        name = row.name if same else f"{row.name} (config has changed since)"
        lines.append([name, *scores, seconds, len(kept)])
        made_by |= {(r["machine"], r["commit"], r["jobs"]) for r in kept}
    headers = ["method", *tests, "seconds", "runs"]
    print(tabulate(lines, headers=headers, tablefmt="github"))
    for machine, commit, jobs in sorted(made_by):
        print(f"on {machine}, {jobs} runs at a time, commit {commit}")
    pairs = [
        (read_result(results, Row(FAIR), s), read_result(results, Row(FULL), s)) for s in seeds
    ]
    gains = [
        full["scores"][tests[0]]["mIoU"] - fair["scores"][tests[0]]["mIoU"]
        for fair, full in pairs
        if fair is not None and full is not None
    ]
    if gains:
        print(
            f"gain of the full method over the fair baseline ({FAIR}) on {tests[0]}: mean "
            f"{np.mean(gains):.1f}, smallest {min(gains):.1f} over {len(gains)} seeds"
        )


def seed_list(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2]."""
    return [int(part) for part in text.split(",")]


def main(argv: list[str] | None = None) -> None:
    """Runs and prints, or only prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="config of the full method")
    parser.add_argument("--seeds", type=seed_list, default=[0, 1, 2], help="default 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("output/ladder"), help="run folders")
    parser.add_argument("--results", type=Path, help="kept results; default OUT/results")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--print-only", action="store_true", help="print what is kept, run nothing")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    arguments.results = arguments.results or arguments.out / "results"
    try:
        cfg = load_config(arguments.config_file, arguments.opts)
        labelled = tuple(f"{name}_labeled" for name in cfg.DATASETS.TARGET)
        rows = ladder_rows(labelled, cfg.DATASETS.TRAIN)
        if arguments.jobs < 1:
            raise InputError(f"--jobs is {arguments.jobs}; it must be 1 or more")
        if not arguments.print_only:
            run_ladder(arguments, rows)
        print_table(arguments, rows, list(cfg.DATASETS.TEST))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
