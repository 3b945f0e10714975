"""The Triton kernels against the float64 reference: on a GPU, or in Triton's interpreter, where
``test_triton_interpreter.py`` runs this file in a process of its own.
"""

import copt_kernels
import pytest
import torch
import torch.nn.functional as F
from backends import INTERPRETED
from copt_kernels.class_covariance import reference

DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [pytest.mark.parity]
if not INTERPRETED:
    no_cuda = not torch.cuda.is_available()
    pytestmark += [pytest.mark.gpu, pytest.mark.skipif(no_cuda, reason="needs CUDA (a GPU)")]
MODES = ["nearest", "area", "bilinear"]
# float32 sums of values up to about 4, over at most some hundred cells
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
# n, c, (h, w), (H, W), k: no size is a multiple of a block, some cells are larger than their pixels
SHAPES = [
    (2, 7, (3, 4), (11, 9), 5),
    (1, 33, (2, 5), (4, 5), 3),
    (3, 2, (1, 1), (6, 5), 2),
    (1, 5, (4, 3), (3, 2), 40),
    (2, 70, (4, 4), (16, 16), 19),
]


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch):
    """Every element of fresh memory is wrong until a kernel writes it."""
    empty = torch.empty

    def poisoned(*arguments, **options):
        memory = empty(*arguments, **options)
        return memory.fill_(torch.nan if memory.is_floating_point() else 12345)

    monkeypatch.setattr(torch, "empty", poisoned)
    empty_like = torch.empty_like
    monkeypatch.setattr(
        torch, "empty_like", lambda t, **options: empty_like(t, **options).fill_(torch.nan)
    )


def draw(n, c, size, label_size, k, dtype=torch.float32, label_dtype=torch.int64, layout=""):
    """Features and labels on the device: a fifth ignored, some out of range, odd strides."""
    features = torch.randn(n, c, *size).to(dtype)
    labels = torch.randint(0, k, (n, *label_size))
    chance = torch.rand(labels.shape)
    outside = 200 if label_dtype == torch.uint8 else -3
    labels = labels.masked_fill(chance < 0.2, 255).masked_fill(chance > 0.9, outside)
    labels = F.pad(labels, (0, 3)).to(label_dtype)[..., :-3]  # rows are further apart than long
    if layout == "channels_last":
        features = features.to(memory_format=torch.channels_last)
    if layout == "sliced":
        features = F.pad(features, (1, 2))[..., 1:-2]
    return features.to(DEVICE), labels.to(DEVICE)


def on_reference(features, labels, k, mode):
    """float64 leaf on the CPU, means, mass."""
    leaf = features.detach().cpu().double().requires_grad_()
    return leaf, *reference.class_means(leaf, labels.cpu().long(), k, mode=mode)


def close(found, expected, **tolerance):
    torch.testing.assert_close(found.detach().cpu().double(), expected.detach(), **tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_means_mass_and_gradient(shape, mode):
    features, labels = draw(*shape)
    k, direction = shape[-1], torch.randn(shape[-1], shape[1])
    leaf, means, mass = on_reference(features, labels, k, mode)
    (means * direction).sum().backward()
    features.requires_grad_()
    found, found_mass = copt_kernels.class_means(features, labels, k, mode=mode, backend="triton")
    (found * direction.to(DEVICE)).sum().backward()
    close(found, means, **CLOSE)
    close(found_mass, mass, **CLOSE)
    close(features.grad, leaf.grad, **CLOSE)


@pytest.mark.parametrize("mode", MODES)
def test_sums(mode):
    features, labels = draw(*SHAPES[0])
    leaf, means, mass = on_reference(features, labels, 5, mode)
    (means * mass[:, None]).sum().backward()
    features.requires_grad_()
    sums, _ = copt_kernels.class_sums(features, labels, 5, mode=mode, backend="triton")
    sums.sum().backward()
    close(sums, means * mass[:, None], **CLOSE)
    # the reference's gradient also runs through 1 / mass, which is constant
    close(features.grad, leaf.grad, **CLOSE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", ["", "channels_last", "sliced"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("label_dtype", [torch.uint8, torch.int32, torch.int64])
def test_dtypes_and_strides(mode, layout, dtype, label_dtype):
    features, labels = draw(2, 6, (2, 3), (5, 7), 4, dtype, label_dtype, layout)
    leaf, means, _ = on_reference(features, labels, 4, mode)
    means.sum().backward()
    features.requires_grad_()
    found, _ = copt_kernels.class_means(features, labels, 4, mode=mode, backend="triton")
    found.sum().backward()
    assert found.dtype == torch.float32
    assert features.grad.dtype == dtype
    close(found, means, **CLOSE)
    # each is rounded once, to the features' dtype
    close(features.grad, leaf.grad, rtol=max(torch.finfo(dtype).eps, 1e-5), atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("with_bank", [True, False])
@pytest.mark.parametrize(("k", "c"), [(5, 7), (19, 70), (40, 33), (3, 2)])
@pytest.mark.parametrize("absent", [(), (1,), (0, 1, 2)])
def test_loss_bank_and_gradient(metric, with_bank, k, c, absent):
    means, bank = torch.randn(k, c) + 3, torch.randn(k, c) - 2
    mass = torch.rand(k) + 0.5
    mass[list(absent)] = 0
    text_cov = copt_kernels.class_covariance(torch.randn(k, 9))
    means[list(absent)] = torch.nan  # rows of absent classes must not count
    leaf = means.clone().double().requires_grad_()
    loss, new_bank = reference.covariance_loss(
        leaf, mass, text_cov, bank if with_bank else None, decay=0.3, metric=metric
    )
    loss.backward()
    found = means.clone().to(DEVICE).requires_grad_()
    found_loss, found_bank = copt_kernels.covariance_loss(
        found,
        mass.to(DEVICE),
        text_cov.to(DEVICE),
        bank.to(DEVICE) if with_bank else None,
        decay=0.3,
        metric=metric,
        backend="triton",
    )
    found_loss.backward()
    close(found_loss, loss.detach(), rtol=1e-5, atol=2e-6)
    close(found_bank, new_bank, rtol=1e-6, atol=1e-6)
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    scale = gradient.abs().nan_to_num().max().clamp_min(1e-3).item()
    close(found.grad, gradient.nan_to_num(), rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["", "channels_last"])
def test_whole_loss(shape, mode, layout):
    features, labels = draw(*shape, layout=layout)
    k, c = shape[-1], shape[1]
    bank, text_cov = torch.randn(k, c), copt_kernels.class_covariance(torch.randn(k, 9))
    leaf, means, mass = on_reference(features, labels, k, mode)
    loss, new_bank = reference.covariance_loss(means, mass, text_cov, bank, decay=0.4)
    (3 * loss).backward()
    features.requires_grad_()
    found, found_bank = copt_kernels.pooled_covariance_loss(
        features,
        labels,
        text_cov.to(DEVICE),
        bank.to(DEVICE),
        mode=mode,
        decay=0.4,
        backend="triton",
    )
    (3 * found).backward()
    close(found, loss, rtol=1e-5, atol=2e-6)
    close(found_bank, new_bank, **CLOSE)
    scale = leaf.grad.abs().max().clamp_min(1e-3).item()
    close(features.grad, leaf.grad, rtol=1e-3, atol=1e-4 * scale)


def test_text_covariance_that_is_not_symmetric():
    means, mass, text_cov = torch.randn(4, 9), torch.ones(4), torch.randn(4, 4)
    for metric in ("cosine", "l1", "l2"):
        leaf = means.double().requires_grad_()
        reference.covariance_loss(leaf, mass, text_cov, metric=metric)[0].backward()
        found = means.clone().to(DEVICE).requires_grad_()
        for backend in ("triton", "torch"):
            found.grad = None
            copt_kernels.covariance_loss(
                *(found, mass.to(DEVICE), text_cov.to(DEVICE)), metric=metric, backend=backend
            )[0].backward()
            close(found.grad, leaf.grad, rtol=1e-4, atol=1e-5)


def test_mean_far_from_zero():
    """Centring per block of channels keeps digits that a sum of squares would lose."""
    means = torch.randn(6, 520) + 1e4
    text_cov = copt_kernels.class_covariance(torch.randn(6, 9))
    leaf = means.double().requires_grad_()
    loss, _ = reference.covariance_loss(leaf, torch.ones(6), text_cov)
    loss.backward()
    found = means.clone().to(DEVICE).requires_grad_()
    found_loss, _ = copt_kernels.covariance_loss(
        found, torch.ones(6, device=DEVICE), text_cov.to(DEVICE), backend="triton"
    )
    found_loss.backward()
    close(found_loss, loss, rtol=1e-4, atol=1e-4)
    close(found.grad, leaf.grad, rtol=1e-2, atol=1e-2 * leaf.grad.abs().max().item())


@pytest.mark.parametrize("mode", MODES)
def test_no_class_and_empty_batch(mode):
    text_cov = copt_kernels.class_covariance(torch.randn(4, 9)).to(DEVICE)
    bank = torch.randn(4, 5, device=DEVICE)
    for n, label in ((2, 255), (0, 1)):
        features = torch.randn(n, 5, 2, 3, device=DEVICE, requires_grad=True)
        labels = torch.full((n, 7, 8), label, device=DEVICE)
        loss, new_bank = copt_kernels.pooled_covariance_loss(
            features, labels, text_cov, bank, mode=mode, backend="triton"
        )
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(new_bank, bank)
        assert torch.equal(features.grad, torch.zeros_like(features))
        means, mass = copt_kernels.class_means(features, labels, 4, mode=mode, backend="triton")
        assert not means.any()
        assert not mass.any()


@pytest.mark.parametrize("mode", MODES)
def test_nan_reaches_its_class_only_and_never_through_ignored_cells(mode):
    features = torch.randn(1, 3, 2, 4, device=DEVICE)
    labels = torch.zeros(1, 8, 16, dtype=torch.int64, device=DEVICE)
    labels[..., 8:] = 1  # columns 2 and 3 of the cells
    labels[:, :, 12:] = 255
    features[0, 1, 0, 0] = torch.nan
    means, mass = copt_kernels.class_means(features, labels, 3, mode=mode, backend="triton")
    assert means.isnan().nonzero().tolist() == [[0, 1]]
    text_cov = copt_kernels.class_covariance(torch.randn(3, 9)).to(DEVICE)
    assert copt_kernels.covariance_loss(means, mass, text_cov, backend="triton")[0].isnan()
    features[0, 1, 0, 0] = torch.inf
    means, _ = copt_kernels.class_means(features, labels, 3, mode=mode, backend="triton")
    assert (~means.isfinite()).nonzero().tolist() == [[0, 1]]
    features[0, 1, 0, 0] = 0
    if mode != "bilinear":  # there, cells of the last column still touch pixels of class 1
        features[..., 3] = torch.nan
        features.requires_grad_()
        loss, _ = copt_kernels.pooled_covariance_loss(
            features, labels, text_cov, mode=mode, backend="triton"
        )
        loss.backward()
        assert loss.isfinite()
        assert not features.grad[..., 3].any()


def test_many_classes():
    labels = torch.arange(1024, device=DEVICE).view(1, 32, 32)
    features = labels.float()[:, None].repeat(1, 2, 1, 1)
    means, mass = copt_kernels.class_means(
        features, labels, 1024, ignore_index=-1, backend="triton"
    )
    assert torch.equal(means.cpu(), torch.arange(1024.0)[:, None].expand(-1, 2))
    assert torch.equal(mass.cpu(), torch.ones(1024))


@pytest.mark.parametrize(
    ("length", "cells"), [(1024, 16), (512, 16), (1024, 32), (1023, 7), (5, 1)]
)
def test_sampled_rows_and_columns_are_those_of_linspace(length, cells):
    expected = torch.linspace(0, length - 1, cells).long().tolist()
    position = torch.arange(length, device=DEVICE).view(1, length, 1)
    for labels, shape in ((position, (cells, 1)), (position.transpose(1, 2), (1, cells))):
        features = torch.arange(1.0, cells + 1, device=DEVICE).view(1, 1, *shape)
        _, mass = copt_kernels.class_means(
            features, labels, 1024, ignore_index=-1, backend="triton"
        )
        assert mass.nonzero().flatten().tolist() == expected


def test_labels_beyond_int32_do_not_wrap_into_a_class():
    labels = torch.full((1, 4, 4), 2**32 + 1, device=DEVICE)
    features = torch.ones(1, 2, 4, 4, device=DEVICE)
    _, mass = copt_kernels.class_means(features, labels, 3, backend="triton")
    assert not mass.any()


def test_ignore_index_inside_the_class_range():
    features, labels = draw(1, 2, (4, 4), (4, 4), 3)
    _, mass = copt_kernels.class_means(features, labels, 3, ignore_index=1, backend="triton")
    assert mass[1] == 0
    assert mass[0] == (labels == 0).sum()


def test_same_bits_each_time():
    features, labels = draw(*SHAPES[-1])
    text_cov = copt_kernels.class_covariance(torch.randn(19, 9)).to(DEVICE)
    losses = {
        copt_kernels.pooled_covariance_loss(features, labels, text_cov, backend="triton")[0].item()
        for _ in range(5)
    }
    assert len(losses) == 1
