"""Two processes: the gradients of one with the whole batch, exact resume, and how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import in_process
import pytest
import torch
from command_line import SCRIPT, SMALL, SMOKE
from comparing import assert_same_run, final_state, metrics
from detectron2.data import MetadataCatalog
from waiting import wait_for_file, wait_until

from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.engine.run_lock import run_lock
from copt_d2.text import write_bank

pytestmark = pytest.mark.integration

PAIR = {
    "TEST__EVAL_PERIOD": 2,
    "SOLVER__LOG_PERIOD": 1,
    "SOLVER__WARMUP_ITERS": 0,
    "MODEL__COPT__SYNC_CLASS_FEATURES": False,  # a bank for each process
}


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def overrides_for_gradients(output):
    options = {
        **SMALL,
        "MODEL.UDA.FEATURE_LOSSES": "('FeatureDistanceLoss','CoPTLoss')",
        "MODEL.UDA.FEATURE_DISTANCE.WEIGHT": 1.0,
        "MODEL.UDA.PSEUDO_THRESHOLD": 0.9,
        "MODEL.UDA.TEACHER_ALPHA": 0.0,
        "MODEL.SEM_SEG_HEAD.DROPOUT": 0.0,
        "OUTPUT_DIR": output,
    }
    return [str(part) for pair in options.items() for part in pair]


def test_two_processes_give_the_gradients_of_one(start, port, tmp_path):
    bank = tmp_path / "bank.safetensors"
    overrides = [*overrides_for_gradients(tmp_path), "MODEL.COPT.TEXT_BANK", str(bank)]
    names = MetadataCatalog.get("camvid_day_train").stuff_classes
    description = {"class_names": json.dumps(names), "templates": "[]", "encoder": "test"}
    write_bank(bank, torch.randn(len(names), 8), {**description, "averaging": "none"})
    file = tmp_path / "gradients.pth"
    ranks = [
        start(in_process.write_gradients, rank, port, str(SMOKE), overrides, file)
        for rank in range(2)
    ]
    model, source, target = in_process.build_model_and_batches(str(SMOKE), overrides)
    # the student has left the frozen encoder, so that there is a feature distance
    losses, expected = in_process.gradients(model, source, target, in_process.draw_step())
    for process in ranks:
        process.join(120)
        assert process.exitcode == 0
    found = torch.load(file, weights_only=True)
    assert found["gradients"].keys() == expected.keys()
    for name, gradient in expected.items():
        # float32 sums over the batch in another order
        scale = gradient.abs().max().clamp_min(1e-6)
        difference = (found["gradients"][name] - gradient).abs().max()
        assert difference <= 2e-5 * scale, name
    first, second = found["losses"]
    for name, loss in losses.items():
        assert (first[name] + second[name]) / 2 == pytest.approx(loss.item(), rel=1e-5)
    # the parts differ, so a weight or divisor of one process alone would not pass
    assert first["loss_source_feature_distance"] > 0
    assert second["loss_source_feature_distance"] == 0
    # both have the covariance loss of the whole batch, and its centroids
    assert first["loss_source_copt"] == second["loss_source_copt"]
    bank = model.feature_losses["copt"].memory_bank
    assert bank.any()
    torch.testing.assert_close(found["bank"], bank, rtol=1e-5, atol=1e-6)
    pseudo = model.teacher.pseudo_labels
    shares = [
        pseudo(in_process.part_of(source, target, in_process.draw_step(), images)[1]).weights.max()
        for images in (slice(0, 2), slice(2, 4))
    ]
    assert 0.01 < shares[0] < shares[1] - 0.05 < 0.95


@pytest.fixture
def pair(start, arguments, port, tmp_path):
    """Runs a main function in two processes as torchrun starts them; their exit statuses and what
    each has said on standard error.
    """
    ports = iter(range(port, port + 10))

    def run(main, output, *flags, **changes):
        argv, meeting = arguments(output, *flags, **changes), next(ports)
        said = [f"{tmp_path}/said{rank}" for rank in range(2)]
        ranks = [
            start(
                *(in_process.join_as_rank, rank, meeting),
                *(in_process.launch_main, main, argv, said[rank]),
            )
            for rank in range(2)
        ]
        for process in ranks:
            process.join(120)
        errors = [Path(f"{name}.stderr").read_text().splitlines() for name in said]
        return [process.exitcode for process in ranks], errors

    return run


@pytest.fixture(scope="module")
def pair_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole_pair")


@pytest.fixture
def whole_pair(pair, pair_folder):
    """Output folder of a run of two processes that nobody has stopped."""
    if not (pair_folder / "model_final.pth").exists():
        assert pair(in_process.train_net.main, pair_folder, **PAIR)[0] == [0, 0]
    return pair_folder


def test_pair_of_processes_resumes_exactly(pair, whole_pair, tmp_path):
    output = tmp_path / "resumed"
    assert pair(in_process.stop_at_5, output, **PAIR)[0] == [1, 1]
    assert pair(in_process.train_net.main, output, "--resume", **PAIR)[0] == [0, 0]
    assert_same_run(output, whole_pair)
    # the processes have seen different images
    state = final_state(whole_pair)
    first, second = (rank["buffers"] for rank in state["ranks"])
    bank = "feature_losses.copt.memory_bank"
    assert not torch.equal(first[bank], second[bank])
    assert torch.equal(first[bank], state["model"][bank])


def test_nan_in_one_process_stops_both(pair, tmp_path):
    statuses, errors = pair(in_process.nan_on_rank_1, tmp_path / "run")
    assert statuses == [1, 1]
    for lines in errors:  # torchrun would have ended the second before it speaks
        assert len(lines) == 1
        assert lines[0].startswith("error: iteration 4: loss_source_ce in phase source is NaN")
        assert f"the last good checkpoint is {tmp_path}/run/model_0000003.pth" in lines[0]


def test_a_folder_in_use_refuses_all_processes(pair, tmp_path):
    """Rank 0 has the lock; the others do not wait for it."""
    with run_lock(tmp_path):
        statuses, errors = pair(in_process.train_net.main, tmp_path)
    assert statuses == [1, 1]
    assert errors[0] == errors[1]
    line = f"error: OUTPUT_DIR {tmp_path} is in use: a training (process {os.getpid()} on "
    assert errors[0][0].startswith(line)


def test_batch_that_processes_cannot_share(pair, tmp_path):
    statuses, errors = pair(in_process.train_net.main, tmp_path, SOLVER__IMS_PER_BATCH=3)
    assert statuses == [1, 1]
    assert errors[0] == [
        "error: SOLVER.IMS_PER_BATCH is 3; it must be a multiple of the 2 processes"
    ]


@pytest.fixture
def waiting_pair(start, arguments, port, tmp_path):
    """Two processes as torchrun starts them, each in the middle of the same iteration or of an
    evaluation; ``go_on`` lets them end it, and gives exit statuses and what each has said.
    """

    def begin(target, output, *flags, **changes):
        argv = arguments(output, *flags, **changes)
        said = [f"{tmp_path}/said{rank}" for rank in range(2)]
        ranks = [
            start(in_process.join_as_rank, rank, port, target, argv, said[rank], 4)
            for rank in range(2)
        ]
        for rank in range(2):
            wait_for_file(ranks[rank], f"{said[rank]}.here")

        def go_on():
            for rank in range(2):
                Path(f"{said[rank]}.go_on").touch()
            for process in ranks:
                process.join(120)
            errors = [Path(f"{name}.stderr").read_text().splitlines() for name in said]
            return [process.exitcode for process in ranks], errors

        return ranks, go_on

    return begin


@pytest.mark.parametrize("signalled", [[0], [1], [0, 1, 0, 1]], ids=["first", "second", "twice"])
def test_processes_agree_on_the_step_after_which_they_stop(
    waiting_pair, pair, whole_pair, tmp_path, signalled
):
    """Each gets the signal, too, that torchrun has got and passes on: that one is no second."""
    output = tmp_path / "run"
    ranks, go_on = waiting_pair(in_process.run_and_wait_in_step, output, **PAIR)
    for rank in signalled:
        os.kill(ranks[rank].pid, signal.SIGTERM)
        time.sleep(0.1)
    statuses, errors = go_on()
    assert statuses == [143, 143]
    (line,) = errors[0]
    assert line.startswith("SIGTERM: stopped after step ")
    assert errors[1] == []
    stopped = int(line.split()[4])
    assert stopped in (5, 6)  # the agreement of step 5 may be past
    assert (output / f"model_000000{stopped}.pth").is_file()
    assert pair(in_process.train_net.main, output, "--resume", **PAIR)[0] == [0, 0]
    assert_same_run(output, whole_pair)


def test_one_process_alone_is_stopped_in_an_evaluation(waiting_pair, pair, whole_pair, tmp_path):
    """The other one does not end with a traceback: torchrun will end it in a moment."""
    output = tmp_path / "run"
    ranks, go_on = waiting_pair(in_process.run_and_wait_in_evaluation, output, **PAIR)
    os.kill(ranks[1].pid, signal.SIGTERM)
    ranks[1].join(60)
    os.kill(ranks[0].pid, signal.SIGTERM)
    statuses, errors = go_on()
    assert statuses == [143, 143]
    assert errors == [["SIGTERM: stopped; a training goes on with --resume"], []]
    assert pair(in_process.train_net.main, output, "--resume", **PAIR)[0] == [0, 0]
    assert_same_run(output, whole_pair)


@pytest.mark.slow
def test_mistake_that_one_started_process_sees_alone(arguments, tmp_path):
    """The other one waits for it and loses its connection: only the mistake is told."""
    script = [sys.executable, in_process.__file__, "mistake_on_rank_1"]
    argv = arguments(tmp_path, "--num-gpus", "2")
    ended = subprocess.run([*script, *argv], capture_output=True, text=True, timeout=150)
    assert ended.returncode == 1
    assert ended.stderr == "error: only rank 1 has seen it\n"


@pytest.mark.slow
def test_memory_of_one_process_that_does_not_suffice(tmp_path, arguments):
    script = [sys.executable, in_process.__file__, "no_memory_on_rank_1"]
    argv = arguments(tmp_path, "--num-gpus", "2")
    ended = subprocess.run([*script, *argv], capture_output=True, text=True, timeout=150)
    assert ended.returncode == 1
    # Python's resource tracker may add that the other process has left a semaphore
    assert ended.stderr.startswith("error: out of memory: lower INPUT.CROP.SIZE ((64, 96)) or")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM: stopped after step ")],
)
def test_a_signal_to_the_parent_ends_started_processes(tmp_path, arguments, number, status, line):
    """The parent alone gets it: a terminal or a cluster would tell all."""
    options = {"SOLVER__MAX_ITER": 1000, "SOLVER__LOG_PERIOD": 1, "SOLVER__CHECKPOINT_PERIOD": 100}
    command = [sys.executable, str(SCRIPT), *arguments(tmp_path, "--num-gpus", "2", **options)]
    # a shell's background job ignores Ctrl-C, and so would all that it starts
    started = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, **started) as parent:
        metrics_file = tmp_path / "metrics.json"
        wait_until(lambda: parent.poll() is not None or metrics_file.exists())
        wait_until(lambda: parent.poll() is not None or metrics_file.read_bytes().count(b"\n") > 3)
        os.kill(parent.pid, number)
        said = parent.communicate(timeout=60)[1].decode().splitlines()
    assert parent.returncode == status
    assert len(said) == 1
    assert said[0].startswith(line)
    assert said[0].endswith(" a training goes on with --resume")
    if number == signal.SIGTERM:
        (path,) = tmp_path.glob("model_0*.pth")
        assert f"which {path} holds" in said[0]
        assert len(read_checkpoint(path)["ranks"]) == 2
    before = metrics_file.stat().st_size
    time.sleep(0.5)
    assert metrics_file.stat().st_size == before


@pytest.mark.slow
def test_torchrun(tmp_path, arguments, port):
    argv = arguments(tmp_path, SOLVER__MAX_ITER=2, SOLVER__LOG_PERIOD=1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*torchrun, "--master-port", str(port), str(SCRIPT), *argv]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert ended.returncode == 0, ended.stderr
    assert len(final_state(tmp_path)["ranks"]) == 2
    assert [line["iteration"] for line in metrics(tmp_path)] == [0, 1, 2]
