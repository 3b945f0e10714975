"""Features and texts of any size: loss and gradient against the reference in float64."""

import copt_kernels
import pytest
import torch
from backends import DEVICES
from copt_kernels.class_covariance import reference

pytestmark = [pytest.mark.parity, pytest.mark.parametrize("backend", DEVICES)]
K, C = 5, 40
MASS = torch.tensor([1.0, 2.0, 0.0, 3.0, 4.0])


def draw(size=1.0, text_size=1.0, seed=0):
    """means and bank (K, C) of about ``size``, which may be (K, 1), and a covariance of texts."""
    rng = torch.Generator().manual_seed(seed)
    means, bank = torch.randn(2, K, C, generator=rng) * size
    text = torch.randn(K, 16, generator=rng) * text_size
    return means, bank, copt_kernels.class_covariance(text)


def loss_of(means, text_cov, bank, metric, backend):
    """Loss and gradient on the CPU."""
    leaf = means.clone().to(DEVICES[backend]).requires_grad_()
    others = (MASS, text_cov, bank)
    loss, _ = copt_kernels.covariance_loss(
        leaf,
        *(None if each is None else each.to(DEVICES[backend]) for each in others),
        metric=metric,
        backend=backend,
    )
    loss.backward()
    return loss.detach().cpu(), leaf.grad.cpu()


def check(means, text_cov, bank, metric, backend):
    """Against float64; each class's gradient to its own size."""
    leaf = means.double().requires_grad_()
    expected, _ = reference.covariance_loss(leaf, MASS, text_cov, bank, metric=metric)
    expected.backward()
    loss, gradient = loss_of(means, text_cov, bank, metric, backend)
    rounding = 3e-6 if metric == "cosine" else 0.0
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-4, atol=rounding)
    size = means.abs().amax(dim=1).double()
    for found, wanted, own in zip(gradient.double(), leaf.grad, size, strict=True):
        # the cosine of a class that stands alone is 1: what is left of its gradient is rounding
        least = 1e-5 / own.item() if metric == "cosine" and own >= 1 else 0.0
        scale = 1e-3 * wanted.abs().max().item()
        torch.testing.assert_close(found, wanted, rtol=0, atol=max(scale, least, 1e-44))


@pytest.mark.parametrize("metric", ["cosine", "l1"])
@pytest.mark.parametrize("size", [1e-20, 1e-10, 1e-4, 1.0, 1e4, 1e10, 1e15, 1e18])
def test_size_of_the_features(size, metric, backend):
    means, bank, text_cov = draw(size)
    check(means, text_cov, bank, metric, backend)
    check(means, text_cov, None, metric, backend)


@pytest.mark.parametrize("metric", ["cosine", "l1"])
@pytest.mark.parametrize("text_size", [1e-18, 1e-9, 1e9, 1e18])
@pytest.mark.parametrize("size", [1e-18, 1.0, 1e18])
def test_size_of_the_texts(size, text_size, metric, backend):
    means, bank, text_cov = draw(size, text_size)
    check(means, text_cov, bank, metric, backend)


@pytest.mark.parametrize("size", [1e-20, 1e-4, 1e4, 1e9])
def test_squares_as_far_as_they_fit(size, backend):
    means, bank, text_cov = draw(size)  # the covariance is about size², its square size⁴
    check(means, text_cov, bank, "l2", backend)


def test_a_square_beyond_the_range_is_infinite(backend):
    means, bank, text_cov = draw(1e13)
    loss, gradient = loss_of(means, text_cov, bank, "l2", backend)
    assert loss.isinf()
    assert gradient.isfinite().all()  # about size³ = 1e39 over 4 · 4 pairs and 39 channels


@pytest.mark.parametrize("metric", ["cosine", "l1"])
@pytest.mark.parametrize(
    "sizes",
    [
        (1e18, 1e-20, 1.0, 1e10, 0.0),
        (1e18, 1e18, 1e-20, 1e-20, 1e-20),
        (1e5, 1.0, 1e-5, 1e2, 1e3),
        (0.0, 1e-40, 1e-40, 0.0, 1e-42),
    ],
)
def test_classes_of_different_size(sizes, metric, backend):
    means, bank, text_cov = draw(torch.tensor(sizes)[:, None])
    check(means, text_cov, bank, metric, backend)
    check(means, text_cov, bank.flip(0), metric, backend)
    check(means, text_cov, None, metric, backend)


@pytest.mark.parametrize("power", [8, 40, 62])
def test_powers_of_two_change_no_digit_of_the_cosine(power, backend):
    means, bank, text_cov = draw()
    loss, gradient = loss_of(16 * means, text_cov, 16 * bank, "cosine", backend)
    factor = 2.0**power
    other, small = loss_of(16 * factor * means, text_cov, 16 * factor * bank, "cosine", backend)
    assert torch.equal(other, loss)
    assert torch.equal(small * factor, gradient)
    assert torch.equal(
        loss_of(16 * means, factor * text_cov, 16 * bank, "cosine", backend)[0], loss
    )


@pytest.mark.parametrize("mode", ["nearest", "area", "bilinear"])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e18), (torch.bfloat16, 1e15)])
def test_whole_loss(mode, dtype, size, backend):
    rng = torch.Generator().manual_seed(1)
    features = (torch.randn(2, 24, 3, 4, generator=rng) * size).to(dtype)
    labels = torch.randint(0, K, (2, 9, 8), generator=rng)
    _, _, text_cov = draw()
    bank = torch.randn(K, 24, generator=rng) * size
    leaf = features.double().requires_grad_()
    means, mass = reference.class_means(leaf, labels, K, mode=mode)
    expected, _ = reference.covariance_loss(means, mass, text_cov, bank)
    expected.backward()
    device = DEVICES[backend]
    found = features.to(device).requires_grad_()
    loss, _ = copt_kernels.pooled_covariance_loss(
        found, *(each.to(device) for each in (labels, text_cov, bank)), mode=mode, backend=backend
    )
    loss.backward()
    torch.testing.assert_close(loss.cpu().double(), expected.detach(), rtol=0, atol=3e-6)
    rounding = max(1e-4, torch.finfo(dtype).eps)
    torch.testing.assert_close(
        found.grad.cpu().double(),
        leaf.grad,
        rtol=rounding,
        atol=rounding * leaf.grad.abs().max().item(),
    )


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_what_is_not_finite_surfaces_at_any_size(wrong, backend):
    for size in (1.0, 1e18):
        means, bank, text_cov = draw(size)
        means[2] = bank[2] = wrong  # absent
        assert loss_of(means, text_cov, bank, "cosine", backend)[0].isfinite()
        means[0, 3] = wrong
        assert loss_of(means, text_cov, bank, "cosine", backend)[0].isnan()
        means, bank, text_cov = draw(size)
        text_cov[0, 1] = wrong
        assert loss_of(means, text_cov, bank, "cosine", backend)[0].isnan()
