"""What the tests run in processes of their own; importing it imports all that a training needs."""

import mmap
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch

import command_line  # noqa: F401  isort: skip  (makes the training script importable)

import train_net
from detectron2.modeling import build_model

from copt_d2.engine import UDATrainer, launch, load_config
from copt_d2.engine.processes import average_gradients, broadcast_model
from copt_d2.errors import InputError
from copt_d2.modeling import TimmBackbone
from copt_d2.modeling.meta_arch import UDASegmentor
from copt_d2.structures import DomainBatch, StepDraws, StrongDraw


def _redirect(output):
    """Standard output and error go to files."""
    torch.set_num_threads(1)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)


def call(environment, target, *args):
    """``target`` with the variables of the starting process; the server keeps older ones."""
    os.environ.update(environment)
    os.setpgrp()  # a group of its own, to which a signal can go
    # a shell's background job ignores Ctrl-C, and so would all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # the loader's workers would otherwise come from a server again, which imports all anew
    multiprocessing.set_start_method("fork", force=True)
    target(*args)


def run(argv, output):
    """The training script; ``output`` + .stdout and .stderr hold what it says."""
    _redirect(output)
    train_net.run(argv)


def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for(file):
    while not Path(file).exists():
        time.sleep(0.005)


def _wait_at(owner, name, output, is_here):
    """When a method is called, ``output`` + .here tells so and + .go_on lets it begin."""
    original = getattr(owner, name)

    def wait(*args):
        if is_here(*args):
            Path(f"{output}.here").touch()
            _wait_for(f"{output}.go_on")
        return original(*args)

    setattr(owner, name, wait)


def run_and_wait_in_step(argv, output, iteration):
    """Waits in the middle of an iteration."""
    _wait_at(UDATrainer, "_check", output, lambda self, _losses: self.iter == iteration)
    run(argv, output)


def run_and_wait_in_evaluation(argv, output, _iteration=None):
    """Waits in the middle of each evaluation."""
    evaluate = sys.modules["copt_d2.engine.evaluate"]  # the package has a function of that name
    _wait_at(evaluate, "evaluate_dataset", output, lambda *_args: True)
    run(argv, output)


def _mark(owner, name, marks, letter):
    """While a function runs, the first byte of a file, shared with whoever looks, is ``letter``."""
    original = getattr(owner, name)

    def marked(*args, **options):
        before, marks[0:1] = marks[0:1], letter
        try:
            return original(*args, **options)
        finally:
            marks[0:1] = before

    setattr(owner, name, marked)


def run_marked(argv, output, file):
    """The training script; ``file`` (1 byte) tells what it does: step, checkpoint, evaluation, or
    something between them.
    """
    with open(file, "r+b") as stream:
        marks = mmap.mmap(stream.fileno(), 1)
    marks[0:1] = b"b"
    _mark(UDATrainer, "run_step", marks, b"s")
    _mark(sys.modules["copt_d2.engine.evaluate"], "evaluate_dataset", marks, b"e")
    _mark(sys.modules["copt_d2.engine.checkpointing"], "write_checkpoint", marks, b"c")
    run(argv, output)


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
    """Main function of a run whose source loss becomes NaN in one process, at iteration 4."""
    original = UDASegmentor.source_losses
    calls = []

    def source_losses(self, source, draws):
        losses = original(self, source, draws)
        calls.append(None)
        if len(calls) == 5 and torch.distributed.get_rank() == 1:
            losses["loss_source_ce"] = losses["loss_source_ce"] * float("nan")
        return losses

    UDASegmentor.source_losses = source_losses
    train_net.main(args)


def stop_at_5(args):
    """Main function of a run that ends in all processes before its step 5."""
    step = UDATrainer.run_step

    def run_step(self):
        if self.iter == 5:
            raise InputError("stopped")
        step(self)

    UDATrainer.run_step = run_step
    train_net.main(args)


def mistake_on_rank_1(args):
    """Main function of a run in which one process alone finds a mistake of the user."""

    def prepare(cfg):
        if torch.distributed.get_rank() == 1:
            raise InputError("only rank 1 has seen it")

    train_net.prepare_text_bank = prepare
    train_net.main(args)


def no_memory_on_rank_1(args):
    """Main function of a run in which the allocator of one process has nothing left."""

    def forward(self, images):
        # the look at its sizes, on the device "meta", needs none
        if torch.distributed.get_rank() == 1 and not images.is_meta:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 1")
        return original(self, images)

    original, TimmBackbone.forward = TimmBackbone.forward, forward
    train_net.main(args)


def launch_main(main, argv, output):
    """``main`` instead of the training script's."""
    _redirect(output)
    launch_instead(main, argv)


def launch_instead(main, argv):
    arguments = train_net.argument_parser().parse_args(argv)
    launch(main, num_gpus=arguments.num_gpus, args=(arguments,))


def join_as_rank(rank, port, main, *args):
    """One of two processes of torchrun, which only sets these variables."""
    os.environ.update(
        TORCHELASTIC_RUN_ID="test",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
    )
    main(*args)


def build_model_and_batches(config, overrides):
    """A model without randomness and without batch statistics, and a batch of four images."""
    torch.manual_seed(0)
    cfg = load_config(config, overrides)
    model = build_model(cfg).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        model.student.sem_seg_head.conv_seg.weight.mul_(300)  # sure of some pixels
        for parameter in model.student.backbone.parameters():  # away from the frozen encoder
            parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    model.teacher.update(model.student, 0)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 4, 3, 64, 96, generator=generator)
    labels = torch.randint(0, 11, (4, 64, 96), generator=generator)
    labels[0] = 8  # cars fill the cells of the first image only: the ranks differ in this,
    labels[1, :40] = 255
    images[1, 2:] *= 3  # and in the share of confident pixels
    valid = torch.ones(4, 64, 96)
    valid[:, :5] = 0
    return model, DomainBatch(images[0], labels), DomainBatch(images[1], valid=valid)


def draw_step():
    """Random choices for four images."""
    generator = torch.Generator().manual_seed(2)
    strong = [
        StrongDraw(factors=(0.9 + 0.05 * n, 1.1, 0.8 + 0.1 * n, 0.1 * n - 0.2), sigma=0.5 + 0.2 * n)
        for n in range(4)
    ]
    return StepDraws(
        mix_masks=torch.rand(4, 1, 64, 96, generator=generator) < 0.5,
        mixed_strong=strong,
        masked_strong=strong[::-1],
        patch_mask=(torch.rand(4, 1, 64, 96, generator=generator) < 0.6).float(),
    )


def part_of(source, target, draws, images):
    """The same for the images of a slice."""
    return (
        DomainBatch(source.images[images], source.labels[images]),
        DomainBatch(target.images[images], valid=target.valid[images]),
        StepDraws(
            mix_masks=draws.mix_masks[images],
            mixed_strong=draws.mixed_strong[images],
            masked_strong=draws.masked_strong[images],
            patch_mask=draws.patch_mask[images],
        ),
    )


def gradients(model, source, target, draws):
    """Losses and gradients of one iteration, averaged over the processes."""
    losses = {}
    for phase in model.training_phases(source, target, draws):
        sum(phase.values()).backward()
        losses.update({name: loss.detach() for name, loss in phase.items()})
    average_gradients(model)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return losses, found


def write_gradients(rank, port, config, overrides, output):
    """Two images each of the four; rank 0 writes what both have found."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model, source, target = build_model_and_batches(config, overrides)
    if rank == 1:  # what it starts with must not count
        with torch.no_grad():
            for value in model.state_dict().values():
                value.mul_(0)
    broadcast_model(model)
    images = slice(2 * rank, 2 * rank + 2)
    losses, found = gradients(model, *part_of(source, target, draw_step(), images))
    everyone = [None, None]
    torch.distributed.all_gather_object(everyone, losses)
    if rank == 0:
        bank = model.feature_losses["copt"].memory_bank
        torch.save({"losses": everyone, "gradients": found, "bank": bank}, output)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    launch_instead(globals()[sys.argv[1]], sys.argv[2:])
