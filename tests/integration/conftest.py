"""Tiny CamVid, its text bank, and the training script in this process or in one that may die."""

import json
import logging
import multiprocessing
import os
import shutil
from multiprocessing import forkserver
from pathlib import Path

import in_process
import pytest
import torch
from camvid_drawings import draw_camvid
from command_line import EVALUATED, SMALL, SMOKE
from detectron2.utils.logger import setup_logger
from safetensors.torch import save_file

from copt_d2.data.label_spaces import CAMVID


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
    names = json.dumps(list(CAMVID.classes))
    path = tmp_path_factory.mktemp("bank") / "bank.safetensors"
    rows = torch.randn(len(CAMVID.classes), 16, generator=torch.Generator().manual_seed(0))
    metadata = {"class_names": names, "templates": "[]", "encoder": "test", "averaging": "none"}
    save_file({"text_embeddings": rows}, path, metadata)
    return path


@pytest.fixture(autouse=True)
def surroundings(camvid, cache, monkeypatch):
    """The environment variables; afterwards the log handlers that a run has left go."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(camvid))
    monkeypatch.setenv("COPT_D2_CACHE", str(cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    for name in ("copt_d2", "detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()
    setup_logger.cache_clear()


@pytest.fixture(scope="session")
def arguments(bank):
    """Command line of a small run: ``arguments(output, *flags, KEY=VALUE)`` with __ for dots."""

    def build(output, *flags, config=SMOKE, **changes):
        options = {**SMALL, "MODEL.COPT.TEXT_BANK": bank, "OUTPUT_DIR": output}
        options.update({key.replace("__", "."): value for key, value in changes.items()})
        pairs = [str(part) for pair in options.items() for part in pair]
        return ["--config-file", str(config), *flags, *pairs]

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
    """A multiprocessing context whose processes start in milliseconds: all is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["in_process"])
    with pytest.MonkeyPatch.context() as patch:
        # the server does not take over sys.path
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


@pytest.fixture
def start(processes):
    """Starts a function of ``in_process`` in a process of its own."""

    def begin(target, *args):
        names = ("DETECTRON2_DATASETS", "COPT_D2_CACHE")
        environment = {name: os.environ[name] for name in names}
        process = processes.Process(target=in_process.call, args=(environment, target, *args))
        process.start()
        started.append(process)
        return process

    started = []
    yield begin
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()


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
