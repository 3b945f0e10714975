"""Processes that start in milliseconds: they are forked from one that has imported everything."""

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path

import in_process
import pytest

VARIABLES = ("DETECTRON2_DATASETS", "COPT_D2_CACHE")


class Processes:
    """Starts functions of ``in_process``."""

    def __init__(self):
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["in_process"])
        with pytest.MonkeyPatch.context() as patch:
            # the server does not take over sys.path
            patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
            patch.setenv("OMP_NUM_THREADS", "1")
            forkserver.ensure_running()

    def start(self, target, *args):
        """A process that has called ``target(*args)``, with today's variables of this one."""
        environment = {name: os.environ[name] for name in VARIABLES}
        process = self.context.Process(target=in_process.call, args=(environment, target, *args))
        process.start()
        return process


def end(process):
    """Kills what still lives."""
    if process.is_alive():
        process.kill()
    process.join()
