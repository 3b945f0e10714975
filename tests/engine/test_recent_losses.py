import torch

from copt_d2.engine.recent_losses import RecentLosses


def step(**losses):
    return {name: torch.tensor(value) for name, value in losses.items()}


def test_means_over_the_steps_that_had_a_loss():
    losses = RecentLosses(torch.device("cpu"))
    losses.add(step(a=1.0, b=2.0))
    losses.add(step(a=3.0, b=6.0))
    assert losses.take_means() == {"a": 2.0, "b": 4.0}
    losses.add(step(a=1.0, b=2.0))
    values = losses.add(step(b=5.0, c=7.0))
    assert values.tolist() == [5.0, 7.0]
    losses.add(step(b=5.0, c=9.0))
    assert losses.take_means() == {"a": 1.0, "b": 4.0, "c": 8.0}
    assert losses.names == ("b", "c")


def test_a_checkpoint_keeps_them_by_name():
    losses = RecentLosses(torch.device("cpu"))
    losses.add(step(a=1.0, b=2.0))
    losses.add(step(a=3.0, b=6.0))
    later = RecentLosses(torch.device("cpu"))
    later.restore(losses.state())
    later.add(step(b=10.0))
    assert later.take_means() == {"a": 2.0, "b": 6.0}
    assert later.state() == []


def test_values_without_names_of_older_checkpoints_are_left_out():
    losses = RecentLosses(torch.device("cpu"))
    losses.restore([torch.tensor([1.0, 2.0])])
    losses.add(step(a=4.0))
    assert losses.take_means() == {"a": 4.0}
