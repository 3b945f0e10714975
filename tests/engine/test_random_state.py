import random

import numpy as np
import pytest
import torch

from copt_d2.engine.checkpointing import read_checkpoint, write_checkpoint
from copt_d2.engine.random_state import kept_random_state, random_state, restore_random_state


def draw():
    """One draw of each generator; numpy's normal draws come in pairs, one of which is kept."""
    return random.random(), np.random.normal(), np.random.rand(), torch.rand(1).item()


def test_state_goes_through_a_checkpoint_file(tmp_path):
    draw()
    write_checkpoint({"random": random_state()}, tmp_path / "state.pth")
    expected = [draw() for _ in range(3)]
    restore_random_state(read_checkpoint(tmp_path / "state.pth")["random"])
    assert [draw() for _ in range(3)] == expected


def test_kept_state_survives_draws_and_errors():
    state = random_state()
    expected = draw()
    restore_random_state(state)
    with kept_random_state():
        draw()
    with pytest.raises(KeyError), kept_random_state():
        raise KeyError(draw())
    assert draw() == expected
