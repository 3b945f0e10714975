import pytest
import torch

from copt_d2.engine.backward import back_propagate

SCHEMES = ("phase", "loss", "sum")


def phases(weights, seen):
    """Two phases; the losses of the first share an intermediate result."""
    shared = weights.exp()
    seen.append(weights.grad is not None)
    yield {"loss_source_a": shared.sum(), "loss_source_b": (shared**2).mean()}
    seen.append(weights.grad is not None)
    yield {"loss_mixed_c": (3 * weights).sum()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradient_of_the_sum(scheme):
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    losses = back_propagate(phases(weights, []), scheme)
    shared = weights.detach().exp()
    # d/dw (exp w) + d/dw (exp 2w) / 3 + 3
    torch.testing.assert_close(weights.grad, shared + 2 * shared**2 / 3 + 3)
    assert list(losses) == ["loss_source_a", "loss_source_b", "loss_mixed_c"]
    assert not any(loss.requires_grad for loss in losses.values())
    assert losses["loss_source_a"].item() == pytest.approx(shared.sum().item())


@pytest.mark.parametrize(("scheme", "between"), [("phase", True), ("loss", True), ("sum", False)])
def test_memory_of_one_phase_or_of_all(scheme, between):
    weights = torch.ones(2, requires_grad=True)
    seen = []
    back_propagate(phases(weights, seen), scheme)
    assert seen == [False, between]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_loss_without_graph_beside_one_with(scheme):
    weights = torch.ones(2, requires_grad=True)
    losses = back_propagate([{"a": weights.sum(), "b": torch.zeros(())}], scheme)
    assert weights.grad.tolist() == [1, 1]
    assert losses["b"] == 0
