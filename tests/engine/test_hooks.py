from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling import build_model

from copt_d2.engine.hooks import ImageLogger, Periodic, TeacherUpdate
from copt_d2.engine.random_state import random_state
from copt_d2.structures import DomainBatch


def run_steps(hook, steps, start=0, max_iter=None, **attributes):
    """Calls a hook as a trainer would."""
    trainer = SimpleNamespace(max_iter=max_iter or start + steps, **attributes)
    hook.trainer = trainer
    for iteration in range(start, start + steps):
        trainer.iter = iteration
        hook.before_step()
        hook.after_step()


@pytest.mark.parametrize(
    ("period", "start", "expected"),
    [(3, 0, [3, 6, 7]), (7, 0, [7]), (0, 0, [7]), (100, 0, [7]), (2, 3, [4, 6, 7])],
)
def test_periods_count_from_the_first_step_of_the_whole_run(period, start, expected):
    calls = []
    hook = Periodic(period, lambda: calls.append(hook.trainer.iter + 1))
    run_steps(hook, 7 - start, start)
    assert calls == expected


def test_teacher_moves_before_each_step():
    calls = []
    teacher = SimpleNamespace(update=lambda student, iteration: calls.append((student, iteration)))
    run_steps(TeacherUpdate(), 2, model=SimpleNamespace(teacher=teacher, student="s"))
    assert calls == [("s", 0), ("s", 1)]
    run_steps(TeacherUpdate(), 1, model=SimpleNamespace(teacher=None, student="s"))


def test_pictures_leave_the_model_and_the_generators_as_they_were(tiny_cfg):
    torch.manual_seed(0)
    model = build_model(tiny_cfg).train()
    source = DomainBatch(torch.randn(2, 3, 64, 96), torch.randint(0, 5, (2, 64, 96)))
    target = DomainBatch(torch.randn(2, 3, 64, 96), valid=torch.ones(2, 64, 96))
    pictures = {}
    storage = SimpleNamespace(put_image=pictures.__setitem__)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = random_state()["torch"]
    hook = ImageLogger(2, "camvid_day_train")
    batches = {"last_batch": (source, target), "model": model, "storage": storage}
    run_steps(hook, 1, **batches)
    assert pictures == {}
    run_steps(hook, 2, **batches)
    assert {name: picture.shape for name, picture in pictures.items()} == {
        "source": (3, 64, 192),
        "target_pseudo_labels": (3, 64, 192),
    }
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(random_state()["torch"], generators)
    # the right half of the source picture has the colours of its labels
    colour = torch.tensor(hook.palette[int(source.labels[0, 5, 7])])
    assert torch.equal(torch.from_numpy(pictures["source"][:, 5, 96 + 7]).long(), colour)
