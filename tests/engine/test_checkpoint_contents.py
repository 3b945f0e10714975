"""Checkpoints that can be read, but hold no state of a run: the one before counts."""

from pathlib import Path

import pytest
import torch
from odd_weights import ODD

from copt_d2.engine.checkpoint_contents import check_state
from copt_d2.engine.checkpointing import TrainingCheckpointer, write_checkpoint
from copt_d2.engine.random_state import random_state
from copt_d2.errors import InputError


def state(iteration=2):
    """A small one of all parts."""
    moments = {"step": torch.tensor(2.0), "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2)}
    return {
        "model": {"student.weight": torch.ones(2, 3), "bank": torch.zeros(2)},
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "scheduler": {"last_epoch": iteration},
        "data": {"seed": 0, "batch": 2, "source": ["a"], "target": []},
        "config": "SEED: 0\n",
        "iteration": iteration,
        "ranks": [{"buffers": {"bank": torch.zeros(2)}, "losses": [], "random": random_state()}],
    }


@pytest.fixture
def load(tmp_path, caplog):
    """Loads the newest of a whole checkpoint after step 1 and this one after step 2."""

    def run(content):
        write_checkpoint(state(1), tmp_path / "model_0000001.pth")
        write_checkpoint(content, tmp_path / "model_0000002.pth")
        return TrainingCheckpointer(tmp_path).load_latest()["iteration"], caplog.text

    return run


def test_a_whole_one_is_taken(load):
    assert load(state())[0] == 2
    assert load({**state(), "format": 2, "classes": ["road"]})[0] == 2


def replaced(*keys, value):
    """The state with one entry, deep inside, replaced."""
    changed = state()
    node = changed
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    return changed


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("where", ["student.weight", "bank"])
def test_odd_weights(load, case, where):
    build, _ = ODD[case]
    newest, said = load(replaced("model", where, value=build((2, 3))))
    assert newest == 1
    (line,) = [line for line in said.splitlines() if "falling back" in line]
    assert f"model_0000002.pth is none of a run: model {where} " in line


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["model"], [torch.ones(2)], "model holds no named tensors"),
        (["model"], {3: torch.ones(2)}, "model holds no named tensors"),
        (["iteration"], "2", r"iteration is no number of steps (str)"),
        (["iteration"], torch.tensor(2), "iteration is no number of steps (Tensor)"),
        (["iteration"], -2, "iteration is no number of steps (int)"),
        (["iteration"], 40000, "iteration 40000 is not that of the file's name"),
        (["optimizer"], None, "optimizer is None"),
        (["optimizer", "state"], [1], "optimizer has no moments"),
        (["optimizer", "state", 0, "exp_avg"], 3, "optimizer state 0: exp_avg is 3 (int), no"),
        (
            ["optimizer", "state", 0, "exp_avg_sq"],
            torch.tensor([float("inf"), 1.0]),
            "optimizer state 0: exp_avg_sq holds NaN or infinity",
        ),
        (["optimizer", "param_groups"], [3], "optimizer has groups without parameters"),
        (["scheduler"], 4, "scheduler is 4 (int)"),
        (["scheduler", "last_epoch"], None, "scheduler has counted no steps"),
        (["data", "seed"], torch.tensor(0), "data holds more than plain values"),
        (["data", "seed"], nested(5000), "a part of it is nested too deep"),
        (["config"], {"SEED": 0}, "config is no YAML"),
        (["config"], "a: [1", "config is no YAML"),
        (["config"], "text", "config is no YAML"),
        (["ranks"], [], "ranks holds no process"),
        (["ranks", 0], None, "ranks 0: buffers holds no named tensors"),
        (["ranks", 0, "buffers", "bank"], torch.ones(3), "ranks 0: the buffer bank is not the"),
        (["ranks", 0, "buffers", "other"], torch.ones(2), "ranks 0: the buffer other is not the"),
        (["ranks", 0, "buffers", "bank"], torch.tensor([0, float("nan")]), "ranks 0: buffers bank"),
        (["ranks", 0, "random"], {}, "ranks 0: its random generators or losses"),
        (["ranks", 0, "random", "torch"], torch.ones(3), "ranks 0: its random generators or"),
        (["ranks", 0, "random", "numpy"], "x", "ranks 0: its random generators or losses"),
        (["ranks", 0, "losses"], 7, "ranks 0: its random generators or losses"),
        (["ranks", 0, "losses"], [{"names": 3}], "ranks 0: its random generators or losses"),
    ],
)
def test_odd_parts(keys, value, words):
    with pytest.raises(InputError) as raised:
        check_state(Path("model_0000002.pth"), replaced(*keys, value=value))
    assert str(raised.value).startswith(f"checkpoint model_0000002.pth is none of a run: {words}")


def test_looking_moves_no_generator(load):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(state())
    assert torch.equal(torch.get_rng_state(), before)


def test_none_is_left(tmp_path):
    for step in (1, 2):
        content = replaced("model", "bank", value=None) | {"iteration": step}
        write_checkpoint(content, tmp_path / f"model_{step:07d}.pth")
    told = r"^--resume: none of the 2 checkpoints in \S+ can be read"
    with pytest.raises(InputError, match=told):
        TrainingCheckpointer(tmp_path).load_latest()
