"""What a loader's worker does when a signal goes to the whole group of processes."""

import multiprocessing
import os
import signal
import threading

# with which clusters and terminals end a job; Windows has no SIGHUP
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def leave_signals_to_parent() -> None:
    """SIGTERM and SIGHUP of others leave this worker alone: the training process, which has got
    them, too, needs its batch to end the step. One from that process itself ends the worker.
    """
    if not hasattr(signal, "sigwaitinfo"):  # where nobody tells who has sent a signal
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    while signal.sigwaitinfo(STOPPING).si_pid != parent.pid:
        pass
    os._exit(0)  # as torch's workers do: any other status would be told as their failure
