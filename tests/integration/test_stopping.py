"""Ctrl-C, and the signals with which a cluster ends a job."""

import os
import signal
import time
from pathlib import Path

import in_process
import pytest
from command_line import EVALUATED
from comparing import assert_same_run
from waiting import children_of, fields, wait_for_file, wait_for_lines, wait_until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "as a terminal does"])
def test_ctrl_c_ends_politely(start, arguments, tmp_path, send):
    options = {"SOLVER__MAX_ITER": 1000, "SOLVER__LOG_PERIOD": 1, "DATALOADER__NUM_WORKERS": 1}
    output = tmp_path / "run"
    process = start(in_process.run, arguments(output, **options), tmp_path / "said")
    wait_for_lines(process, output, 4)
    children = children_of(process.pid)
    assert children
    send(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    said = Path(f"{tmp_path}/said.stderr").read_text().splitlines()
    assert said == ["interrupted: a training goes on with --resume"]
    wait_until(lambda: all(fields(pid)[0] == "gone" for pid in children))
    assert (output / "model_0000003.pth").is_file()


def assert_stopped(process, said, line, status):
    process.join(60)
    assert process.exitcode == status
    lines = Path(f"{said}.stderr").read_text().splitlines()
    assert lines == [f"{line}; a training goes on with --resume"]


# the step after iteration 4 is evaluated
@pytest.mark.parametrize(
    ("number", "status", "send", "iteration"),
    [
        (signal.SIGTERM, 143, os.kill, 3),
        (signal.SIGTERM, 143, os.killpg, 4),
        (signal.SIGHUP, 129, os.killpg, 6),
        (signal.SIGTERM, 143, os.kill, 7),
    ],
    ids=["alone", "as a cluster does, evaluation due", "hang-up", "last step"],
)
def test_the_end_of_a_job_saves_the_step(
    uninterrupted, start, arguments, train, tmp_path, number, status, send, iteration
):
    """Workers that get the signal, too, bring the batch that the step needs."""
    output, said = tmp_path / "run", tmp_path / "said"
    options = {**EVALUATED, "SOLVER__CHECKPOINT_PERIOD": 100, "DATALOADER__NUM_WORKERS": 1}
    argv = arguments(output, **options)
    process = start(in_process.run_and_wait_in_step, argv, said, iteration)
    wait_for_file(process, f"{said}.here")
    send(process.pid, number)
    time.sleep(0.1)  # the workers take it as well
    Path(f"{said}.go_on").touch()
    path = output / f"model_000000{iteration + 1}.pth"
    name = signal.Signals(number).name
    line = f"{name}: stopped after step {iteration + 1} of 8, which {path} holds"
    assert_stopped(process, said, line, status)
    assert not (output / "training.lock").exists()
    train(output, "--resume", **EVALUATED)
    assert_same_run(output, uninterrupted)


def test_the_end_of_a_job_in_an_evaluation(uninterrupted, start, arguments, train, tmp_path):
    """It does not wait for the evaluation, which comes after the resume."""
    output, said = tmp_path / "run", tmp_path / "said"
    process = start(in_process.run_and_wait_in_evaluation, arguments(output, **EVALUATED), said)
    wait_for_file(process, f"{said}.here")
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(process, said, "SIGTERM: stopped", 143)
    train(output, "--resume", **EVALUATED)
    assert_same_run(output, uninterrupted)


def test_a_second_signal_ends_the_step(start, arguments, tmp_path):
    output, said = tmp_path / "run", tmp_path / "said"
    process = start(in_process.run_and_wait_in_step, arguments(output), said, 4)
    wait_for_file(process, f"{said}.here")
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.2)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143
    assert [path.name for path in output.glob("model_*")] == ["model_0000003.pth"]


@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_resume_at_any_place_of_the_command_line(four_steps, arguments, place, tmp_path):
    argv = arguments(four_steps, SOLVER__BASE_LR="-1e-3", SEED=-1)
    where = {"first": 0, "between": 8, "last": len(argv)}[place]
    parsed = in_process.train_net.argument_parser().parse_args(
        [*argv[:where], "--resume", *argv[where:]]
    )
    assert parsed.resume
    assert parsed.opts == argv[2:]


def test_an_unknown_flag_among_the_keys(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        in_process.train_net.argument_parser().parse_args([*arguments(tmp_path), "--resum-e"])
    assert "unrecognized arguments: --resum-e" in capsys.readouterr().err
