import errno
import json
import os
import re
import socket
import subprocess
import sys

import pytest

from copt_d2.engine import run_lock as lock_module
from copt_d2.engine.run_lock import NAME, run_lock
from copt_d2.errors import InputError


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock of ``tmp_path``; it has forked one that only sleeps."""
    program = f"""
import os, sys, time
sys.path[:0] = {sys.path!r}
from copt_d2.engine.run_lock import run_lock
with run_lock({str(tmp_path)!r}):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(child, 9)


def test_one_at_a_time_and_the_message_names_it(holder, tmp_path):
    with pytest.raises(InputError) as refused, run_lock(tmp_path):
        pass
    said = str(refused.value)
    assert said.startswith(f"OUTPUT_DIR {tmp_path} is in use: a training (process {holder.pid} on ")
    assert f"on {socket.gethostname()}, since 20" in said
    # the refused one has left the file alone, and closing it did not free the lock
    with pytest.raises(InputError, match="is in use"), run_lock(tmp_path):
        pass
    # a kill frees it, though what the process has forked lives on
    holder.kill()
    holder.wait()
    with run_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_it_leaves_nothing(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [NAME]
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[3]", '{"host": "gone", "pid": 1}', '{"pid": "x"}'])
def test_what_a_dead_process_left_does_not_block(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with run_lock(tmp_path):
        pass


def test_a_file_that_goes_while_one_waits_for_it(tmp_path, monkeypatch):
    """Its owner has removed it meanwhile; the lock of a nameless file is worth nothing."""
    lock, calls = lock_module._lock, []

    def late(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / NAME).unlink()
        lock(descriptor)

    monkeypatch.setattr(lock_module, "_lock", late)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert len(calls) == 2


@pytest.fixture
def without_locks(monkeypatch):
    """A network file system that knows no locks."""

    def unknown(*_args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", unknown)


def owner(**changes):
    here = lock_module._this_process()
    return json.dumps({**here, **changes})


def test_without_locks_a_living_process_of_this_machine_is_seen(without_locks, holder, tmp_path):
    with pytest.raises(InputError, match=rf"process {holder.pid} .*if that process has ended, de"):
        run_lock(tmp_path).__enter__()
    holder.kill()
    holder.wait()
    with run_lock(tmp_path):
        pass


def test_without_locks_the_number_may_be_of_another_process(without_locks, tmp_path):
    (tmp_path / NAME).write_text(owner(birth="1"))
    with run_lock(tmp_path):
        pass


def test_without_locks_another_machine_cannot_be_asked(without_locks, tmp_path):
    (tmp_path / NAME).write_text(owner(host="node17", pid=4711, since="2025-01-01 12:00:00+00:00"))
    line = "a training (process 4711 on node17, since 2025-01-01 12:00:00+00:00) writes there"
    with pytest.raises(InputError, match=re.escape(line)):
        run_lock(tmp_path).__enter__()


def test_locks_of_this_machine_alone(caplog, tmp_path):
    """Whether a mount shares them between machines cannot be seen: a warning."""
    (tmp_path / NAME).write_text(owner(host="node17", pid=4711))
    with run_lock(tmp_path):
        pass
    assert "was left by process 4711 on node17" in caplog.text


def test_other_errors_are_told(tmp_path, monkeypatch):
    def broken(*_args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.lockf", broken)
    with pytest.raises(OSError, match="Input/output"):
        run_lock(tmp_path).__enter__()


def test_windows(tmp_path, monkeypatch):
    """It has no fcntl; a byte beyond the text is locked, so that the text can be read."""
    positions = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor, mode, count):
            assert (mode, count) == (2, 1)
            positions.append(os.lseek(descriptor, 0, os.SEEK_CUR))
            if len(positions) > 1:
                raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(lock_module, "fcntl", None)
    monkeypatch.setattr(lock_module, "msvcrt", Msvcrt, raising=False)
    with run_lock(tmp_path), pytest.raises(InputError, match=rf"process {os.getpid()} on"):
        run_lock(tmp_path).__enter__()
    assert min(positions) > 4096
