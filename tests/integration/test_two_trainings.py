"""Two trainings in one folder: the second one is refused, and nothing of the first one changes."""

import os
import signal
from pathlib import Path

import in_process
import pytest
from command_line import EVALUATED
from comparing import assert_same_run
from waiting import children_of, fields, wait_for_file, wait_until

pytestmark = pytest.mark.integration


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_second_one_is_refused(
    uninterrupted, start, arguments, train, error_line, capsys, tmp_path
):
    output, said = tmp_path / "run", tmp_path / "said"
    argv = arguments(output, **EVALUATED, DATALOADER__NUM_WORKERS=1)
    process = start(in_process.run_and_wait_in_step, argv, said, 4)
    wait_for_file(process, f"{said}.here")
    before = contents(output)
    for flags in ((), ("--resume",)):
        line = error_line(output, *flags, **EVALUATED)
        assert line.startswith(f"OUTPUT_DIR {output} is in use: a training (process {process.pid} ")
    assert contents(output) == before
    train(output, "--eval-only")  # of the newest checkpoint, beside the training
    # a kill frees the folder at once, though the loader's worker lives for some seconds
    (worker,) = children_of(process.pid)
    os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.join()
    train(output, "--resume", **EVALUATED)
    assert fields(worker)[0] != "gone"
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: fields(worker)[0] == "gone")
    assert_same_run(output, uninterrupted)
    assert not (output / "training.lock").exists()


def test_what_was_killed_before_its_first_line_blocks_nothing(train, tmp_path):
    Path(tmp_path / "training.lock").write_text('{"host": "elsewhere", "pid": 1}')
    train(tmp_path, SOLVER__MAX_ITER=1, DATASETS__TEST="()")
    assert (tmp_path / "model_final.pth").is_file()
