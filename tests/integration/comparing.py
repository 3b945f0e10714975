"""Whether two runs have ended alike."""

import json
from pathlib import Path

import torch

from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.engine.network_file import read_network

# what a clock says
TIMES = {"data_time", "time", "eta_seconds", "rank_data_time"}


def differences(first, second, where=""):
    """Names of the entries of two nested states that are not equal, bit for bit."""
    if type(first) is not type(second):
        return [where]
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) and first.dtype == second.dtype else [where]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [where]
        return [d for key in first for d in differences(first[key], second[key], f"{where}.{key}")]
    if isinstance(first, (list, tuple)):
        if len(first) != len(second):
            return [where]
        pairs = enumerate(zip(first, second, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, f"{where}.{n}")]
    return [] if first == second else [where]


def final_state(output):
    """The last checkpoint of a run, without the config, which names the output folder."""
    state = read_checkpoint(Path(output) / "model_final.pth")
    del state["config"]
    return state


def final_network(output):
    """The same of the file that holds the student alone."""
    state = read_network(Path(output) / "model_final.safetensors")
    del state["config"]
    return state


def metrics(output):
    """Lines of a metrics.json without what a clock says."""
    lines = (Path(output) / "metrics.json").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [{k: v for k, v in entry.items() if k not in TIMES} for entry in entries]


def record(output, name="camvid_day_val"):
    """An evaluation record without the folder of its run and the commit of the code."""
    fields = json.loads((output / "evaluation" / f"{name}.json").read_text())
    fields["weights"] = {k: v for k, v in fields["weights"].items() if k != "path"}
    del fields["checkpoint"], fields["commit"]
    return fields


def assert_same_run(output, whole):
    """Weights, optimizer, teacher, bank and generators at the end; every line and record."""
    assert differences(final_state(output), final_state(whole)) == []
    assert differences(final_network(output), final_network(whole)) == []
    assert metrics(output) == metrics(whole)
    records = sorted(path.stem for path in (whole / "evaluation").glob("*.json"))
    assert records == sorted(path.stem for path in (output / "evaluation").glob("*.json"))
    for name in records:
        assert record(output, name) == record(whole, name)
