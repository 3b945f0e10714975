"""The list of detectron2's keys that runs read is what runs read."""

import logging

import pytest
from record_keys import (
    REGISTRIES,
    SMOKE,
    distinct_configs,
    keys_of_run,
    record_everywhere,
    record_parts,
    surroundings,
    tiny_config,
    trainable,
)

from copt_d2.engine.config_keys import detectron2_keys, keys_read

AGAIN = "python tests/integration/record_keys.py writes it anew"


@pytest.fixture
def folder():
    logging.disable(logging.INFO)
    with surroundings() as place:
        yield place
    logging.disable(logging.NOTSET)


def test_a_run_reads_nothing_that_is_not_listed(folder):
    changes = {"TEST.PRECISE_BN.ENABLED": True, "TEST.PRECISE_BN.NUM_ITER": 1}
    cfg = tiny_config(SMOKE, {**changes, "MODEL.TIMM.FREEZE_NORM": False})
    read = keys_of_run(cfg, folder)
    assert read & detectron2_keys() <= set(keys_read()["everywhere"]), AGAIN
    assert {"SOLVER.BASE_LR", "MODEL.UDA.PHASES", "TEST.PRECISE_BN.NUM_ITER"} <= read
    # what merging, checking and writing a config touch is not read
    assert not read & {"SOLVER.GAMMA", "INPUT.FORMAT", "MODEL.RESNETS.DEPTH", "VERSION"}


def test_every_part_is_listed():
    recorded = keys_read()["parts"]
    assert {key: sorted(names) for key, names in recorded.items()} == {
        key: trainable(key) for key in REGISTRIES
    }, AGAIN


@pytest.mark.long
def test_the_whole_list(folder):
    everywhere = record_everywhere(folder, distinct_configs())
    assert everywhere == keys_read()["everywhere"], AGAIN
    assert record_parts(folder, everywhere) == keys_read()["parts"], AGAIN
