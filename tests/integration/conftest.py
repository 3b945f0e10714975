"""Tiny CamVid, its text bank, and the training script in this process or in one that may die."""

import shutil

import in_process
import pytest
from camvid_drawings import draw_camvid
from command_line import EVALUATED, SMOKE, small_run, write_random_bank
from preloaded import Processes, end


@pytest.fixture(scope="session")
def camvid(tmp_path_factory):
    """The folder that holds ``camvid``; not to be changed."""
    root = tmp_path_factory.mktemp("sets")
    draw_camvid(root)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def bank(tmp_path_factory):
    """A text bank of random rows: the real one takes seconds to make."""
    return write_random_bank(tmp_path_factory.mktemp("bank") / "bank.safetensors")


@pytest.fixture(autouse=True)
def surroundings(camvid, cache, monkeypatch):
    """The environment variables of a run."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(camvid))
    monkeypatch.setenv("COPT_D2_CACHE", str(cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def arguments(bank):
    """Command line of a small run: ``arguments(output, *flags, KEY=VALUE)`` with __ for dots."""

    def build(output, *flags, config=SMOKE, **changes):
        return small_run(bank, output, *flags, config=config, **changes)

    return build


@pytest.fixture
def train(arguments):
    """Runs the training script in this process; arguments as for ``arguments``."""

    def run(*args, **changes):
        in_process.train_net.run(arguments(*args, **changes))

    return run


@pytest.fixture
def error_line(train, capsys):
    """Runs what must fail: the one line on standard error, without its "error: "."""

    def run(*args, **changes):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            train(*args, **changes)
        lines = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture(scope="session")
def processes():
    return Processes()


@pytest.fixture
def start(processes):
    """Starts a function of ``in_process`` in a process of its own."""
    started = []

    def begin(target, *args):
        started.append(processes.start(target, *args))
        return started[-1]

    yield begin
    for process in started:
        end(process)


@pytest.fixture
def own_data(camvid, tmp_path, monkeypatch):
    """A copy of the data that a test may damage."""
    shutil.copytree(camvid, tmp_path / "sets")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    return tmp_path / "sets" / "camvid"


@pytest.fixture(scope="session")
def uninterrupted(arguments, camvid, cache, tmp_path_factory):
    """Output folder of a run of 8 steps, evaluated after 5 and 8; not to be changed."""
    output = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(arguments(output, **EVALUATED))
    return output


@pytest.fixture(scope="module")
def four_steps(arguments, camvid, cache, tmp_path_factory):
    """Output folder of a run of four steps, checkpoints after 3 and 4; not to be changed."""
    output = tmp_path_factory.mktemp("four_steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(arguments(output, SOLVER__MAX_ITER=4))
    return output


@pytest.fixture
def output(four_steps, tmp_path):
    """A copy of that run that a test may damage."""
    shutil.copytree(four_steps, tmp_path / "run")
    return tmp_path / "run"
