"""Differentiating twice or forward: an error on every way, or the right value; never silence."""

import copt_kernels
import pytest
import torch
from backends import DEVICES

MODES = ["nearest", "area", "bilinear"]
TEXT = copt_kernels.class_covariance(torch.randn(3, 8))
LABELS = torch.randint(0, 3, (2, 6, 6))
LABELS[0, 0, :3] = torch.arange(3)  # each class is there
BANK = torch.randn(3, 4)
REFUSED = "copt_kernels: differentiating twice is not supported"


def pooled(f, to, bank=None, **options):
    others = [None if each is None else each.to(f.device) for each in (LABELS, TEXT, bank)]
    return copt_kernels.pooled_covariance_loss(f, *others, **to, **options)[0]


def of_means(means, mass, to):
    text = TEXT.to(means.device)
    return copt_kernels.covariance_loss(means, mass, text, backend=to["backend"])[0]


# what may be differentiated by features (2, 4, 3, 3), with the options of pooling
VALUES = {
    "means": lambda f, to: copt_kernels.class_means(f, LABELS.to(f.device), 3, **to)[0].square(),
    "sums": lambda f, to: copt_kernels.class_sums(f, LABELS.to(f.device), 3, **to)[0].square(),
    "loss": lambda f, to: of_means(f[0, :3, 0], torch.ones_like(f[0, :3, 0, 0]), to),
    "loss with a bank": lambda f, to: pooled(f, to, BANK),
    "loss of squares": lambda f, to: pooled(f.square(), to, metric="l2"),
    "both": lambda f, to: of_means(*copt_kernels.class_means(f, LABELS.to(f.device), 3, **to), to),
}


def value_of(name, f, backend="torch", mode="nearest"):
    return VALUES[name](f, {"backend": backend, "mode": mode}).sum()


def penalty(f, value):
    """|gradient|² of the value and of a cubic term, as every training loss has other terms."""
    (gradient,) = torch.autograd.grad(value + (f**3).sum(), f, create_graph=True)
    return gradient.square().sum()


WAYS = {
    "backward": lambda f, value: penalty(f, value).backward(),
    "grad": lambda f, value: torch.autograd.grad(penalty(f, value), f),
    "backward(inputs)": lambda f, value: penalty(f, value).backward(inputs=[f]),
    "backward twice": lambda f, value: (
        value.backward(create_graph=True),
        f.grad.square().sum().backward(),
    ),
    "unused allowed": lambda f, value: torch.autograd.grad(
        penalty(f, value), [f, torch.ones(2, requires_grad=True)], allow_unused=True
    ),
}


CASES = [("torch", name, mode) for name in VALUES for mode in MODES]
if "triton" in DEVICES:  # whose interpreter is slow; autograd's part of it is the same
    CASES += [("triton", name, "area") for name in ("means", "loss with a bank")]


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize(("backend", "name", "mode"), CASES)
def test_every_way_is_refused(backend, name, mode):
    for way in ("grad",) if backend == "triton" else WAYS:
        f = torch.randn(2, 4, 3, 3).to(DEVICES[backend]).requires_grad_()
        value = value_of(name, f, backend, mode)
        with pytest.raises(RuntimeError, match=REFUSED) as error:
            WAYS[way](f, value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", VALUES)
def test_the_first_derivative_is_the_same_with_a_graph(name):
    f = torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    value = value_of(name, f, mode="area")
    once = torch.autograd.grad(value, f, retain_graph=True)[0]
    again = torch.autograd.grad(value, f, create_graph=True)[0]
    assert torch.equal(again, once)
    assert again.stride() == once.stride()


def test_a_derivative_by_what_only_the_incoming_gradient_knows():
    f, weight = torch.randn(2, 4, 3, 3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    value = weight * value_of("loss with a bank", f)
    (gradient,) = torch.autograd.grad(value, f, create_graph=True)
    with pytest.raises(RuntimeError, match=REFUSED):
        torch.autograd.grad(gradient.sum(), weight)


def test_what_does_not_lead_through_it_is_right():
    f, other = torch.randn(2, 4, 3, 3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    value = value_of("means", f) + (other**3 * f).sum()
    (gradient,) = torch.autograd.grad(value, f, create_graph=True)
    (by_other,) = torch.autograd.grad(gradient.sum(), other)
    assert by_other.item() == pytest.approx(3 * 2.0**2 * f.numel(), rel=1e-5)


def of_features(f):
    return copt_kernels.pooled_covariance_loss(f, LABELS, TEXT.double())[0]


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: torch.autograd.gradgradcheck(of_features, f.clone().requires_grad_()),
        lambda f: torch.autograd.functional.hessian(of_features, f),
        lambda f: torch.autograd.functional.hvp(of_features, f, f),
        lambda f: torch.func.hessian(of_features)(f),
        lambda f: torch.func.grad(lambda x: torch.func.grad(of_features)(x).sum())(f),
        lambda f: torch.func.jvp(of_features, (f,), (f,)),
        lambda f: torch.func.jacfwd(of_features)(f),
    ],
    ids=["gradgradcheck", "hessian", "hvp", "func.hessian", "func.grad", "jvp", "jacfwd"],
)
def test_transforms_are_refused(transform):
    with pytest.raises((RuntimeError, ValueError)) as error:
        transform(torch.randn(2, 4, 3, 3, dtype=torch.float64))
    assert "\n" not in str(error.value)


def test_many_gradients_at_once():
    f = torch.randn(2, 4, 3, 3, dtype=torch.float64).requires_grad_()
    (wanted,) = torch.autograd.grad(of_features(f), f)
    many = {"grad_outputs": torch.tensor([1.0, -2.0]).double(), "is_grads_batched": True}
    for graph in (False, True):
        (found,) = torch.autograd.grad(of_features(f), f, create_graph=graph, **many)
        torch.testing.assert_close(found, torch.stack([wanted, -2 * wanted]))
    with pytest.raises(RuntimeError, match=REFUSED):
        torch.autograd.grad(found.sum(), f)


def test_batches_of_values():
    many = torch.randn(3, 2, 4, 3, 3, dtype=torch.float64)
    found = torch.func.vmap(of_features)(many)
    torch.testing.assert_close(found, torch.stack([of_features(each) for each in many]))


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_class_covariance_may_be_differentiated_twice(size):
    vectors = torch.randn(3, 5, dtype=torch.float64)

    def scaled(x):
        return copt_kernels.class_covariance(x * size) / size**2

    assert torch.autograd.gradgradcheck(scaled, vectors.clone().requires_grad_())
    direction = torch.randn_like(vectors)
    # of a square: Cov(x + d) = Cov(x) + derivative + Cov(d)
    both = (scaled(vectors + direction) - scaled(vectors - direction)) / 2
    torch.testing.assert_close(torch.func.jvp(scaled, (vectors,), (direction,))[1], both)
