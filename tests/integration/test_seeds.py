"""The same command and SEED give the same weights, whatever an earlier run has left in a cache."""

import random

import in_process
import numpy as np
import pytest
import torch
from comparing import differences, final_state

from copt_d2.data import class_statistics

pytestmark = pytest.mark.integration
OPTIONS = {"SOLVER__MAX_ITER": 2, "SOLVER__CHECKPOINT_PERIOD": 0, "SOLVER__IMAGE_PERIOD": 0}


def drawing(function):
    """``function``, drawing from every generator, as the making of an encoder does."""

    def called(*args):
        random.random(), np.random.random(), torch.rand(3)
        calls.append(function)
        return function(*args)

    calls = []
    called.calls = calls
    return called


@pytest.fixture(scope="module")
def usual(arguments, camvid, cache, tmp_path_factory):
    """Final state of a run that may find all caches filled."""
    output = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        for _ in range(2):
            in_process.train_net.run(arguments(output, **OPTIONS))
    return final_state(output)


def test_a_text_bank_that_is_made(train, usual, tmp_path, monkeypatch):
    made = drawing(in_process.train_net.ensure_text_bank)
    monkeypatch.setattr(in_process.train_net, "ensure_text_bank", made)
    train(tmp_path, **OPTIONS)
    assert made.calls
    assert differences(final_state(tmp_path), usual) == []


def test_class_statistics_that_are_counted(train, usual, tmp_path, monkeypatch):
    counted = drawing(class_statistics.count_pixels)
    monkeypatch.setattr(class_statistics, "count_pixels", counted)
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cold"))
    train(tmp_path / "out", **OPTIONS)
    assert counted.calls
    assert differences(final_state(tmp_path / "out"), usual) == []


def test_loader_workers(train, usual, tmp_path):
    train(tmp_path, DATALOADER__NUM_WORKERS=1, **OPTIONS)
    assert differences(final_state(tmp_path), usual) == []
