"""What the tests run in processes of their own; importing it imports all that a training needs."""

import os
import resource
import signal
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import train_net  # noqa: E402

from copt_d2.engine import launch  # noqa: E402
from copt_d2.modeling.meta_arch import UDASegmentor  # noqa: E402


def _redirect(output):
    """Standard output and error go to files."""
    torch.set_num_threads(1)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)


def call(environment, target, *args):
    """``target`` with the variables of the starting process; the server keeps older ones."""
    os.environ.update(environment)
    target(*args)


def run(argv, output):
    """The training script; ``output`` + .stdout and .stderr hold what it says."""
    _redirect(output)
    train_net.run(argv)


def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_die_half_written(argv, output):
    """Killed when half of the checkpoint after step 6 is on the disk."""

    save = torch.save

    def save_half(state, file):
        save(state, file)
        if state["iteration"] == 6:
            file.truncate(file.tell() // 2)
            file.flush()
            die()

    torch.save = save_half
    run(argv, output)


def run_and_die_before_the_old_one_goes(argv, output):
    """Killed when there is one checkpoint too many."""
    Path.unlink = die
    run(argv, output)


def run_on_a_full_disk(argv, output, size):
    """No file can grow beyond ``size`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    run(argv, output)


def nan_on_rank_1(args):
    """Main function of a run whose source loss becomes NaN in one process, at iteration 2."""
    original = UDASegmentor.source_losses
    calls = []

    def source_losses(self, source, draws):
        losses = original(self, source, draws)
        calls.append(None)
        if len(calls) == 3 and torch.distributed.get_rank() == 1:
            losses["loss_source_ce"] = losses["loss_source_ce"] * float("nan")
        return losses

    UDASegmentor.source_losses = source_losses
    train_net.main(args)


def launch_two(main, argv, output):
    """``main`` in two processes."""
    _redirect(output)
    arguments = train_net.argument_parser().parse_args(argv)
    launch(main, num_gpus=2, args=(arguments,))
