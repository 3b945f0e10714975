import copt_kernels
import pytest
import torch
from copt_kernels.class_covariance import reference

METRICS = ["cosine", "l1", "l2"]


def draw(k=6, c=11, absent=(1, 4), seed=0, dtype=torch.float64):
    """means, mass, text covariance and bank with some classes absent."""
    rng = torch.Generator().manual_seed(seed)
    means = torch.randn(k, c, generator=rng, dtype=torch.float64)
    mass = torch.rand(k, generator=rng, dtype=torch.float64) + 0.5
    mass[list(absent)] = 0
    means[list(absent)] = 0
    text = torch.randn(k, 7, generator=rng, dtype=torch.float64)
    bank = torch.randn(k, c, generator=rng, dtype=torch.float64)
    text_cov = copt_kernels.class_covariance(text)
    return means.to(dtype), mass.to(dtype), text_cov.to(dtype), bank.to(dtype)


def test_class_covariance_by_hand():
    vectors = torch.tensor([[1.0, 2.0, 3.0], [6.0, 2.0, 1.0]])
    # centred: (-1, 0, 1) and (3, -1, -2); products / 2
    assert copt_kernels.class_covariance(vectors).tolist() == [[1.0, -2.5], [-2.5, 7.0]]


@pytest.mark.parity
def test_class_covariance_equals_torch_cov():
    vectors = torch.randn(5, 33, dtype=torch.float64)
    torch.testing.assert_close(copt_kernels.class_covariance(vectors), torch.cov(vectors))
    torch.testing.assert_close(reference.class_covariance(vectors), torch.cov(vectors))
    assert torch.autograd.gradcheck(copt_kernels.class_covariance, vectors.requires_grad_())


def test_class_covariance_of_half_precision_is_float32():
    vectors = torch.randn(3, 9).half()
    expected = torch.cov(vectors.float())
    torch.testing.assert_close(copt_kernels.class_covariance(vectors), expected)


@pytest.mark.parity
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("with_bank", [True, False])
@pytest.mark.parametrize("absent", [(), (1, 4), (0, 1, 2, 3, 5)])
def test_value_gradient_and_bank_equal_the_reference(metric, with_bank, absent):
    means, mass, text_cov, bank = draw(absent=absent)
    bank = bank if with_bank else None
    results = []
    for function in (copt_kernels.covariance_loss, reference.covariance_loss):
        leaf = means.clone().requires_grad_()
        loss, new_bank = function(leaf, mass, text_cov, bank, decay=0.3, metric=metric)
        loss.backward()
        assert not new_bank.requires_grad
        results.append((loss.detach(), leaf.grad, new_bank))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.8])
def test_gradient_equals_the_closed_form(decay):
    means, mass, text_cov, bank = draw()
    leaf = means.clone().requires_grad_()
    copt_kernels.covariance_loss(leaf, mass, text_cov, bank, decay=decay)[0].backward()

    present = mass.nonzero().flatten()
    vectors = decay * bank[present] + (1 - decay) * means[present]
    x = vectors - vectors.mean(1, keepdim=True)
    pixel, text = x @ x.T / 10, text_cov[present][:, present]
    s, a, b = (pixel * text).sum(), pixel.norm(), text.norm()
    g = -text / (a * b) + s * pixel / (a**3 * b)
    expected = torch.zeros_like(means)
    expected[present] = (1 - decay) * 2 / 10 * (g @ x)
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("with_bank", [True, False])
def test_gradcheck(metric, with_bank):
    means, mass, text_cov, bank = draw(k=4, c=5, absent=(2,))
    assert torch.autograd.gradcheck(
        lambda m: copt_kernels.covariance_loss(
            m, mass, text_cov, bank if with_bank else None, metric=metric
        )[0],
        means.requires_grad_(),
    )


def test_range_of_the_cosine_loss():
    means, mass, _, _ = draw(absent=())
    own = copt_kernels.class_covariance(means)
    loss = lambda text_cov: copt_kernels.covariance_loss(means, mass, text_cov)[0].item()  # noqa: E731
    assert loss(own) == pytest.approx(0, abs=1e-9)
    assert loss(7.5 * own) == pytest.approx(0, abs=1e-9)  # scale-invariant
    assert loss(-own) == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize(("metric", "expected"), [("l1", 3.25), ("l2", 15.625)])
def test_l1_and_l2_by_hand(metric, expected):
    means = torch.tensor([[1.0, 2.0, 3.0], [6.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    mass = torch.tensor([1.0, 2.0, 0.0])
    # covariance [[1, -2.5], [-2.5, 7]] against zeros; the absent class's entries do not count
    text_cov = torch.zeros(3, 3)
    text_cov[2] = text_cov[:, 2] = 100.0
    loss, _ = copt_kernels.covariance_loss(means, mass, text_cov, metric=metric)
    assert loss.item() == pytest.approx(expected)


def test_bank_after_four_steps():
    text_cov = copt_kernels.class_covariance(torch.randn(3, 8))
    bank, expected = torch.zeros(3, 5), [[0.0] * 5 for _ in range(3)]
    for step in range(4):
        means, mass, _, _ = draw(k=3, c=5, absent=(), seed=step, dtype=torch.float32)
        mass[step % 2] = 0  # class 0 is seen at steps 1 and 3, class 1 at 0 and 2, class 2 always
        before = bank.clone()
        _, new_bank = copt_kernels.covariance_loss(means, mass, text_cov, bank, decay=0.25)
        assert torch.equal(bank, before)
        bank = new_bank
        for c in {0, 1, 2} - {step % 2}:
            for j in range(5):
                expected[c][j] = 0.25 * expected[c][j] + 0.75 * means[c, j].item()
    torch.testing.assert_close(bank, torch.tensor(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("with_bank", [True, False])
def test_no_class_gives_exactly_zero(dtype, metric, with_bank):
    means, mass, text_cov, bank = draw(absent=range(6), dtype=dtype)
    means.requires_grad_()
    loss, new_bank = copt_kernels.covariance_loss(
        means, mass, text_cov, bank if with_bank else None, metric=metric
    )
    loss.backward()
    assert loss.dtype == dtype
    assert loss.item() == 0
    assert torch.equal(means.grad, torch.zeros_like(means))
    assert torch.equal(new_bank, bank if with_bank else torch.zeros_like(bank))


def test_one_class_gives_zero_up_to_rounding():
    means, mass, text_cov, _ = draw(absent=(0, 1, 2, 4, 5), dtype=torch.float32)
    means.requires_grad_()
    loss, _ = copt_kernels.covariance_loss(means, mass, text_cov)
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert means.grad.abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features_give_one_and_zero_gradient(value):
    _, mass, text_cov, _ = draw(dtype=torch.float32)
    means = torch.full((6, 11), value, requires_grad=True)
    loss, _ = copt_kernels.covariance_loss(means, mass, text_cov)
    loss.backward()
    assert loss.item() == 1
    assert torch.equal(means.grad, torch.zeros_like(means))


@pytest.mark.parametrize("scale", [1e-2, 1e6])
def test_float32_gradient_stays_accurate_for_small_and_large_features(scale):
    means, mass, text_cov, _ = draw()
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf = (means * scale).to(dtype).requires_grad_()
        copt_kernels.covariance_loss(leaf, mass.to(dtype), text_cov.to(dtype))[0].backward()
        gradients.append(leaf.grad.double() * scale)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_nan_of_a_present_class_surfaces_and_of_an_absent_one_does_not(metric):
    means, mass, text_cov, bank = draw()
    means[1, 2] = bank[4, 3] = torch.nan  # both classes are absent
    loss, _ = copt_kernels.covariance_loss(means, mass, text_cov, bank, metric=metric)
    assert loss.isfinite()
    for wrong in (torch.nan, torch.inf):
        means[0, 0] = wrong
        loss, _ = copt_kernels.covariance_loss(means, mass, text_cov, bank, metric=metric)
        assert loss.isnan()


def test_gradient_goes_to_the_means_only():
    means, mass, text_cov, bank = (tensor.requires_grad_() for tensor in draw())
    loss, new_bank = copt_kernels.covariance_loss(means, mass, text_cov, bank)
    loss.backward()
    assert means.grad.any()
    assert mass.grad is None
    assert text_cov.grad is None
    assert bank.grad is None
    assert not new_bank.requires_grad


def test_stays_float32_under_autocast():
    means, mass, text_cov, bank = draw(dtype=torch.float32)
    expected, _ = copt_kernels.covariance_loss(means, mass, text_cov, bank)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = copt_kernels.covariance_loss(means, mass, text_cov, bank)
    assert torch.equal(loss, expected)
