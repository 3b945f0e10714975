"""Kills training runs at random moments, resumes them, and compares each with one that lived.

python tests/campaigns/kills.py --kills 100 [--seed N] [--folder DIR]

Weights, optimizer, teacher, memory bank and random generators must be equal bit for bit, and so
must every line of metrics.json and every evaluation record. Prints a table of the kills by kind of
run and moment; the exit status is 1 if a run differs. Runs that differ stay in --folder.
"""

import argparse
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))

import in_process
from camvid_drawings import draw_camvid
from command_line import small_run, write_random_bank
from comparing import differences, final_state, metrics, record
from preloaded import Processes, end
from tabulate import tabulate

STEPS = 12
PATIENCE = 300  # seconds until a run counts as hanging
MOMENTS = {"s": "step", "e": "evaluation", "c": "checkpoint", "b": "between"}
KILLS_OF_A_RUN = 8
COMMON = {
    "SOLVER__MAX_ITER": STEPS,
    "SOLVER__CHECKPOINT_PERIOD": 3,
    "SOLVER__LOG_PERIOD": 2,
    "SOLVER__WARMUP_ITERS": 2,
    "TEST__EVAL_PERIOD": 4,
    "TEST__PICTURES": 1,
}
TWO_SETS = "('camvid_day_val','camvid_dusk_val')"
HRDA = {
    "MODEL__BACKBONE__NAME": "build_mit_backbone",
    "MODEL__BACKBONE__FREEZE_AT": 0,
    "MODEL__MIT__VARIANT": "b0",
    "MODEL__HRDA__ENABLED": True,
    "MODEL__HRDA__CROP_SIZE": 32,
    "INPUT__CROP__SIZE": "[64,64]",
}


@dataclass(frozen=True)
class Kind:
    """What is trained, in how many processes, and where most kills shall fall ("" = anywhere)."""

    changes: dict = field(default_factory=dict)
    processes: int = 1
    moment: str = ""


KINDS = {
    "one process": Kind({"DATALOADER__NUM_WORKERS": 1}),
    "two processes": Kind({"MODEL__COPT__SYNC_CLASS_FEATURES": False}, processes=2),
    "HRDA with MiT": Kind(HRDA),
    "bfloat16": Kind({"SOLVER__AMP__ENABLED": True}),
    "evaluating": Kind(
        {
            "TEST__EVAL_PERIOD": 2,
            "DATASETS__TEST": TWO_SETS,
            "TEST__PRECISE_BN__ENABLED": True,
            "TEST__PRECISE_BN__NUM_ITER": 2,
        },
        moment="e",
    ),
    "saving": Kind({"SOLVER__CHECKPOINT_PERIOD": 1, "TEST__EVAL_PERIOD": 3}, moment="c"),
}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Run:
    """One output folder, trained by one process after another."""

    def __init__(self, campaign, kind, output):
        self.campaign = campaign
        self.kind = kind
        self.output = output
        self.marks = output.with_name(f"{output.name}.marks")
        self.said = output.with_name(f"{output.name}.said")

    def start(self):
        """Begins or resumes; returns the processes."""
        changes = {**COMMON, **self.kind.changes}
        argv = small_run(self.campaign.bank, self.output, "--resume", **changes)
        self.marks.write_bytes(b"b")
        start, count, port = self.campaign.processes.start, self.kind.processes, free_port()
        if count == 1:
            return [start(in_process.run_marked, argv, self.said, self.marks)]
        ranks = []
        for rank in range(count):
            marks = self.marks if rank == 0 else self.marks.with_suffix(f".{rank}")
            marks.write_bytes(b"b")
            job = (in_process.run_marked, argv, f"{self.said}{rank}", marks)
            ranks.append(start(in_process.join_as_rank, rank, port, *job))
        return ranks

    def moment(self):
        return self.marks.read_bytes().decode()

    def finish(self):
        """Runs to the end."""
        ranks = self.start()
        for process in ranks:
            process.join(PATIENCE)
        statuses = [process.exitcode for process in ranks]
        for process in ranks:
            end(process)
        if any(statuses):
            raise RuntimeError(f"{self.output}: a resumed run ended with {statuses}")

    def kill(self, draw):
        """Starts, kills at a random moment, and tells at which; "" if the run had ended before."""
        ranks = self.start()
        deadline = time.monotonic() + PATIENCE
        wanted = self.kind.moment if draw.random() < 0.7 else draw.choice("secb")
        times, seen, last = draw.randint(1, 2 if wanted in ("e", "c") else 5), 0, ""
        while seen < times and ranks[0].is_alive():
            now = self.moment()
            seen += now != last and now == (wanted or draw.choice("sec"))
            last = now
            if time.monotonic() > deadline:
                for process in ranks:
                    end(process)
                raise RuntimeError(f"{self.output}: nothing happens any more")
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.02 if wanted else 0.2))
        killed = False
        for process in draw.sample(ranks, len(ranks)):
            process.kill()
            process.join()
            killed |= process.exitcode == -9
            time.sleep(draw.uniform(0, 0.05))
        return self.moment() if killed else ""


def faults(output, whole):
    """What differs between a run that was killed and one that was not."""
    found = differences(final_state(output), final_state(whole))
    if metrics(output) != metrics(whole):
        found.append("metrics.json")
    names = sorted(path.stem for path in (whole / "evaluation").glob("*.json"))
    for name in names:
        path = output / "evaluation" / f"{name}.json"
        if not path.is_file() or record(output, name) != record(whole, name):
            found.append(path.name)
    return found + [
        path.name for path in output.rglob("*") if path.name.endswith((".tmp", ".lock"))
    ]


class Campaign:
    """Kills runs of all kinds in turns.

    Args:
        folder: for data, runs and caches; must exist.
        seed: of the moments.
    """

    def __init__(self, folder, seed):
        self.folder = folder
        self.draw = random.Random(seed)
        self.kills = Counter()  # (kind, moment)
        self.runs = Counter()
        self.unequal = []
        draw_camvid(folder / "sets")
        os.environ["DETECTRON2_DATASETS"] = str(folder / "sets")
        os.environ["COPT_D2_CACHE"] = str(folder / "cache")
        self.bank = write_random_bank(folder / "bank.safetensors")
        self.processes = Processes()

    def run(self, kills):
        """Until so many processes have been killed."""
        kinds = list(KINDS)
        while self.kills.total() < kills:
            self._kill_one_run(kinds[self.runs.total() % len(kinds)], kills)

    def _kill_one_run(self, name, kills):
        whole = self.folder / f"whole {name}"
        if not whole.exists():
            Run(self, KINDS[name], whole).finish()
        run = Run(self, KINDS[name], self.folder / f"run {self.runs.total()}")
        self.runs[name] += 1
        for _ in range(KILLS_OF_A_RUN):
            if self.kills.total() == kills or (run.output / "model_final.pth").exists():
                break
            moment = run.kill(self.draw)
            if moment:
                self.kills[name, MOMENTS[moment]] += 1
        run.finish()
        found = faults(run.output, whole)
        print(f"{run.output.name}, {name}: {'equal' if not found else found[:5]}", flush=True)
        if found:
            self.unequal.append(run.output)
        else:
            shutil.rmtree(run.output)

    def table(self):
        """Kills by kind and moment."""
        moments = list(MOMENTS.values())
        rows = [[name, *(self.kills[name, m] for m in moments), self.runs[name]] for name in KINDS]
        total = [sum(row[n] for row in rows) for n in range(1, len(moments) + 2)]
        headers = ["kills in", *moments, "runs"]
        return tabulate([*rows, ["all", *total]], headers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    arguments = parser.parse_args(argv)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="kills"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    campaign = Campaign(folder, arguments.seed)
    campaign.run(arguments.kills)
    print(campaign.table())
    total, runs = campaign.kills.total(), campaign.runs.total()
    unequal = len(campaign.unequal)
    print(
        f"{total} kills in {runs} runs, {runs - unequal} of them equal to their uninterrupted one;"
    )
    print(f"{(time.monotonic() - began) / 60:.0f} minutes, seed {arguments.seed}")
    if unequal:
        sys.exit(f"different: {', '.join(map(str, campaign.unequal))}")
    if arguments.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
