import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from copt_d2.engine import launch
from copt_d2.engine.stop_signals import StopSignals, Terminated

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(autouse=True)
def _not_under_nohup():
    """``nohup make test`` ignores this signal, in processes that a test starts as well."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(number):
    """Python's handler runs before the next line."""
    os.kill(os.getpid(), number)


def is_alive(pid):
    """Not if it only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_the_first_one_is_noted(number, status):
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.number == 0
        send(number)
        assert stop.number == number
        with pytest.raises(Terminated) as ended, stop.at_once():
            raise AssertionError
    assert ended.value.code == status
    assert signal.getsignal(number) == before


def test_it_ends_at_once_what_can_be_ended():
    with StopSignals() as stop:
        with pytest.raises(Terminated), stop.at_once():
            send(signal.SIGTERM)
        with StopSignals() as inner:
            send(signal.SIGTERM)
        assert inner.number == signal.SIGTERM


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop, stop.at_once():
            send(signal.SIGHUP)
        assert stop.number == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_get_no_signals():
    entered = []

    def work():
        with StopSignals() as stop:
            entered.append(stop.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [0]


def test_of_several_processes_the_second_one_may_be_the_first_passed_on():
    """After a signal, a connection that breaks is the end of another process."""
    seen = []

    def fail(signals):
        for _ in range(signals):
            send(signal.SIGTERM)
        raise RuntimeError("connection closed by peer")

    with pytest.raises(Terminated), StopSignals(60, seen.append):
        fail(2)
    assert seen == [signal.SIGTERM]
    for patience, signals in ((60, 0), (0, 1)):
        with pytest.raises(RuntimeError), StopSignals(patience):
            fail(signals)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_second_one_ends_the_process_and_its_children(number, status, tmp_path):
    program = f"""
import multiprocessing, os, signal, sys, time
sys.path[:0] = {sys.path!r}
from copt_d2.engine.stop_signals import StopSignals
def wait():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
child = multiprocessing.get_context("fork").Process(target=wait)
child.start()
with StopSignals():
    print(child.pid, flush=True)
    while True:
        time.sleep(60)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        child = int(process.stdout.readline())
        process.send_signal(number)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == status
    line = f"{signal.Signals(number).name} again: ended at once; a training goes on with --resume\n"
    assert said.endswith(line)
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_outside_of_steps_there_is_one_line(capsys, number, status):
    def main():
        send(number)
        raise AssertionError

    with pytest.raises(SystemExit) as ended:
        launch(main)
    assert ended.value.code == status
    name = signal.Signals(number).name
    assert capsys.readouterr().err == f"{name}: stopped; a training goes on with --resume\n"
