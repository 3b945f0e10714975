"""Every config key with every kind of odd value: each ends in one line or in a run that works.

python tests/campaigns/config_values.py [--full] [KEY ...]    # minutes; --full: half an hour

A value goes in as a user gives it: in a YAML file and on the command line. What load_config and
check_config let through is trained for two steps and evaluated on drawn frames, in a process of
its own with limits of time and memory. Counted are values that are refused in one line, that run,
that end in one line later, and, of which there must be none, tracebacks, hangs and crashes.
The short form takes every fifth key, every third value and two runs of a key.
"""

import argparse
import contextlib
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import yaml
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

import in_process  # isort: skip  (makes the training script importable)

import record_keys
import torch
import train_net
from odd_values import context_of, odd_values

from copt_d2.engine import UDATrainer, check_config, load_config
from copt_d2.engine.config_values import TABLE
from copt_d2.errors import InputError

SECONDS = 90  # of a run that takes two
GIGABYTES = 6  # more than a run needs, less than the machine has
LONGEST_LINE = 1000


@dataclass(frozen=True)
class Trial:
    """One value of one key; ``way`` is how it is given."""

    key: str
    kind: str
    value: object
    way: str


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: "refused", "ran", "one line", "taken" (not run), and, of which
    there must be none, "traceback", "hang" or "crash".
    """

    what: str
    said: str = ""


def trials(keys, full):
    """All trials of ``keys``; without ``full`` every third one."""
    ways = ("file", "command line")
    found = [Trial(key, *odd, way) for key in keys for odd in odd_values(key) for way in ways]
    return found if full else found[::3]


def nested(settings):
    """Dotted keys -> the tables of a YAML file."""
    tree = {}
    for key, value in settings.items():
        *tables, last = key.split(".")
        node = tree
        for table in tables:
            node = node.setdefault(table, {})
        node[last] = list(value) if isinstance(value, tuple) else value
    return tree


def base_settings(folder):
    """All that makes a run tiny, on the data in ``folder``."""
    return {
        **{key: value for key, value in record_keys.TINY.items() if key not in ("MODEL.DEVICE",)},
        "MODEL.TIMM.FREEZE_NORM": False,
        "MODEL.DEVICE": "cpu",
        "MODEL.UDA.PHASES": ["source", "mixed", "masked"],
        "MODEL.UDA.FEATURE_LOSSES": ["FeatureDistanceLoss", "CoPTLoss"],
        "MODEL.COPT.TEXT_BANK": str(folder / "bank.safetensors"),
        "MODEL.COPT.SOURCE_DOMAINS": ["day"],
        "MODEL.COPT.TARGET_DOMAINS": ["dusk"],
        "TEST.PRECISE_BN.NUM_ITER": 1,
    }


class Campaign:
    """Gives values to keys, and counts what happens."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = base_settings(folder)
        self.outcomes = []
        self._runs = {}
        self._of_key = defaultdict(set)

    def config_of(self, trial):
        """The config of a trial, as a command line makes it."""
        settings = {**self.settings, **context_of(trial.key)}
        overrides = []
        if trial.way == "file":
            settings[trial.key] = trial.value
        else:
            overrides = [trial.key, str(trial.value)]
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(nested(settings), allow_unicode=True))
        cfg = load_config(str(file), overrides)
        check_config(cfg.clone() if cfg.SEED >= 0 else with_seed(cfg))
        return cfg

    def judge(self, trial, runs):
        """The outcome of a trial; configs that are equal run once, new ones only if ``runs``."""
        try:
            cfg = self.config_of(trial)
        except InputError as error:
            said = str(error)
            fine = "\n" not in said and len(said) <= LONGEST_LINE
            return Outcome("refused" if fine else "traceback", said)
        except Exception as error:
            return Outcome("traceback", f"{type(error).__name__}: {error}")
        text = cfg.dump()
        if text not in self._runs and not runs:
            return Outcome("taken")
        if text not in self._runs:
            self._runs[text] = run_apart(cfg, self.folder)
        return self._runs[text]

    def run(self, chosen, runs=None):
        """Judges all of ``chosen``; of each key at most ``runs`` configs are run."""
        for trial in tqdm(chosen, disable=None):
            done = self._of_key[trial.key]
            outcome = self.judge(trial, runs is None or len(done) < runs)
            self.outcomes.append((trial, outcome))
            if outcome.what not in ("refused", "taken"):
                done.add(repr(trial.value))


def with_seed(cfg):
    """The config as it is after the training script has drawn a seed."""
    cfg = cfg.clone()
    cfg.SEED = 0
    return cfg


def run_apart(cfg, folder):
    """Trains and evaluates in a forked process."""
    place = Path(tempfile.mkdtemp(dir=folder))
    process = multiprocessing.get_context("fork").Process(target=run_here, args=(cfg, place))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return Outcome("hang")
    lines = (place / "run.stderr").read_text(errors="replace").strip().splitlines()
    if process.exitcode == 0:
        return Outcome("ran")
    if process.exitcode == 1 and len(lines) == 1 and lines[0].startswith("error: "):
        fine = len(lines[0]) <= LONGEST_LINE
        return Outcome("one line" if fine else "traceback", lines[0].removeprefix("error: "))
    last = lines[-1] if lines else ""
    return Outcome("traceback" if process.exitcode == 1 else "crash", f"{process.exitcode} {last}")


def run_here(cfg, place):
    """The training script with ``cfg``; a run of more steps than two ends after them."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.chdir(place)
    in_process._redirect(place / "run")
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not those of pytest
    train_net.load_config = lambda *_: cfg
    step = UDATrainer.run_step

    def run_step(self):
        if self.iter == 2:
            os._exit(0)
        step(self)

    UDATrainer.run_step = run_step
    if cfg.OUTPUT_DIR == "./output":
        cfg.OUTPUT_DIR = str(place / "output")
    train_net.run(["--config-file", "tried"])


def shown(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def report(outcomes):
    """Counts and the list of what is accepted, as text."""
    counts = Counter(outcome.what for _, outcome in outcomes)
    kinds = defaultdict(Counter)
    for trial, outcome in outcomes:
        kinds[trial.kind][outcome.what] += 1
    lines = ["accepted, and what became of the run:"]
    accepted = {}
    for trial, outcome in outcomes:
        if outcome.what != "refused":
            accepted.setdefault((trial.key, shown(trial.value), outcome), []).append(trial.way)
    for (key, value, outcome), ways in sorted(accepted.items(), key=lambda item: item[0][:2]):
        ways = " and ".join(sorted(set(ways)))
        lines.append(f"  {key} = {value} ({ways}): {outcome.what} {outcome.said}".rstrip())
    lines += [f"{kind}: {dict(found)}" for kind, found in kinds.items()]
    return "\n".join([*lines, f"{len(outcomes)} trials: {dict(counts)}"])


def failures(outcomes):
    """What there must be none of."""
    bad = ("traceback", "hang", "crash")
    return [(trial, outcome) for trial, outcome in outcomes if outcome.what in bad]


def keys_of_campaign(full):
    """All keys; without ``full`` every fifth, and none that makes a text bank."""
    keys = sorted(TABLE)
    if full:
        return keys
    return [key for key in keys if context_of(key).get("MODEL.COPT.TEXT_BANK") != ""][::5]


def campaign(full=False, keys=()):
    """Runs it, perhaps for some keys only, and returns the outcomes of all trials."""
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    fast = patch.object(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    with record_keys.surroundings() as folder, contextlib.chdir(folder), fast:
        found = Campaign(folder)
        found.run(trials(keys or keys_of_campaign(full), full), None if full else 2)
    logging.disable(logging.NOTSET)
    return found.outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all keys and values")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="only these keys")
    arguments = parser.parse_args()
    outcomes = campaign(arguments.full, arguments.keys)
    print(report(outcomes))
    sys.exit(bool(failures(outcomes)))


if __name__ == "__main__":
    main()
