"""The operators under ``torch.library.opcheck``, ``torch.compile``, autocast; the whole loss."""

import re

import copt_kernels
import pytest
import torch
from copt_kernels.class_covariance import reference, torch_impl
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

MODES = ["nearest", "area", "bilinear"]
OPS = torch.ops.copt_kernels


def inputs(n=2, c=8, k=5, size=(4, 3), label_size=(17, 14), dtype=torch.float32):
    features = torch.randn(n, c, *size, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, k + 1, (n, *label_size))
    text_cov = copt_kernels.class_covariance(torch.randn(k, 9, dtype=torch.float64))
    bank = torch.randn(k, c, dtype=torch.float64)
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    return features, labels.masked_fill(labels == k, 255), text_cov.to(kept), bank.to(kept)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_opcheck(mode, layout):
    features, labels, text_cov, bank = inputs()
    features = features.contiguous(memory_format=layout).requires_grad_()
    opcheck(OPS.pool, (features, labels, 5, mode, 255, True, "torch"))
    opcheck(OPS.pooled_loss, (features, labels, text_cov, bank, mode, 255, 0.5, "cosine", "torch"))
    opcheck(OPS.pooled_loss, (features, labels, text_cov, None, mode, 255, 0.5, "l2", "torch"))
    means, mass = torch.randn(5, 8, requires_grad=True), torch.rand(5)
    opcheck(OPS.covariance, (means, mass, text_cov, bank, 0.5, "l1", "torch"))
    loss, new_bank, gram, centre = OPS.covariance(means, mass, text_cov, bank, 0.5, "l1", "torch")
    kept = [tensor.detach() for tensor in (loss, new_bank, mass, gram, centre)]
    opcheck(OPS.covariance_backward, (*kept, "torch"))


def test_opcheck_of_transposed_inputs():
    means, bank, text_cov = torch.randn(8, 5).T, torch.randn(8, 5).T, torch.randn(5, 5).T
    for old in (bank, None):
        arguments = (means.requires_grad_(), torch.ones(5), text_cov, old, 0.5, "l1", "torch")
        opcheck(OPS.covariance, arguments)


def two_losses(features, labels, text_cov, bank):
    """Two calls in one graph: by the separate functions and by the fused one."""
    means, mass = copt_kernels.class_means(features, labels, len(bank), mode="area")
    first, bank = copt_kernels.covariance_loss(means, mass, text_cov, bank)
    second, bank = copt_kernels.pooled_covariance_loss(
        2 * features, labels, text_cov, bank, metric="l1"
    )
    return first + second, bank


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiles_without_a_graph_break(dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(two_losses, fullgraph=True, dynamic=dynamic)
    for size in ((4, 3), (2, 5)):
        features, *others = inputs(size=size)
        results = []
        for function in (two_losses, compiled):
            leaf = features.clone().requires_grad_()
            loss, bank = function(leaf, *others)
            loss.backward()
            results.append((loss.detach(), bank, leaf.grad))
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_match_float32(dtype):
    features, labels, text_cov, bank = inputs()
    short = features.to(dtype)
    expected, expected_bank = two_losses(short.float(), labels, text_cov, bank)
    with torch.autocast("cpu", torch.bfloat16):
        leaf = short.requires_grad_()
        loss, new_bank = copt_kernels.pooled_covariance_loss(leaf, labels, text_cov, bank)
        loss.backward()
    assert loss.dtype == new_bank.dtype == torch.float32
    assert leaf.grad.dtype == dtype
    alone = short.detach().float().requires_grad_()
    wanted, _ = copt_kernels.pooled_covariance_loss(alone, labels, text_cov, bank)
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    eps = torch.finfo(dtype).eps  # the gradient is rounded once
    torch.testing.assert_close(leaf.grad.float(), alone.grad, rtol=eps, atol=1e-7)
    with torch.autocast("cpu", torch.bfloat16):
        loss, new_bank = two_losses(short.detach().float(), labels, text_cov, bank)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(new_bank, expected_bank, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
def test_gradcheck_of_the_whole_loss(mode, metric):
    features, labels, text_cov, bank = inputs(1, 3, 3, (2, 3), (7, 5), torch.float64)
    assert torch.autograd.gradcheck(
        lambda f: copt_kernels.pooled_covariance_loss(
            f, labels, text_cov, bank, mode=mode, metric=metric
        )[0],
        features.requires_grad_(),
    )


@pytest.mark.parity
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 4),
    c=st.integers(2, 1024),
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    label_size=st.tuples(st.integers(1, 22), st.integers(1, 17)),
    k=st.integers(1, 64),
    mode=st.sampled_from(MODES),
    metric=st.sampled_from(["cosine", "l1", "l2"]),
    with_bank=st.booleans(),
    ignored=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whole_loss_equals_the_reference(
    n, c, size, label_size, k, mode, metric, with_bank, ignored, seed
):
    torch.manual_seed(seed)
    features, labels, text_cov, bank = inputs(n, c, k, size, label_size, torch.float64)
    if ignored:
        labels[0] = 255
    bank = bank if with_bank else None
    results = []
    leaf = features.clone().requires_grad_()
    means, mass = reference.class_means(leaf, labels, k, mode=mode)
    loss, new_bank = reference.covariance_loss(
        means, mass, text_cov, bank, decay=0.3, metric=metric
    )
    if loss.requires_grad:  # else no class is present
        loss.backward()
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    results.append((loss.detach(), new_bank, gradient))
    leaf = features.clone().requires_grad_()
    loss, new_bank = copt_kernels.pooled_covariance_loss(
        leaf, labels, text_cov, bank, mode=mode, decay=0.3, metric=metric
    )
    loss.backward()
    results.append((loss.detach(), new_bank, leaf.grad))
    for expected, found in zip(*results, strict=True):
        # the cosine of a single class is 1 up to rounding
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_bank_after_four_steps_through_the_whole_loss():
    features, labels, text_cov, _ = inputs(dtype=torch.float64)
    bank, expected = torch.zeros(5, 8, dtype=torch.float64), torch.zeros(5, 8, dtype=torch.float64)
    for step in range(4):
        part = labels.masked_fill(labels == step, 255)
        means, mass = copt_kernels.class_means(features, part, 5)
        before = bank.clone()
        _, new_bank = copt_kernels.pooled_covariance_loss(
            features, part, text_cov, bank, decay=0.25
        )
        assert torch.equal(bank, before)
        bank = new_bank
        seen = mass > 0
        assert not seen[step]
        expected[seen] = 0.25 * expected[seen] + 0.75 * means[seen]
    torch.testing.assert_close(bank, expected)


@pytest.mark.parametrize(
    ("text_cov", "bank", "message"),
    [
        (torch.zeros(4, 3), None, "text_cov must be (4, 4), got features (2, 8, 4, 3)"),
        (torch.zeros(4), None, "text_cov must be (4, 4)"),
        (torch.zeros(4, 4).double(), None, "text_cov must be float32, on the device of features"),
        (torch.zeros(4, 4), torch.zeros(4, 9), "bank must be (4, 8)"),
        (torch.zeros(0, 0), None, "text_cov must be (K >= 1, K)"),
    ],
)
def test_names_what_does_not_fit(text_cov, bank, message):
    features, labels, *_ = inputs()
    with pytest.raises(ValueError, match=re.escape(message)):
        copt_kernels.pooled_covariance_loss(features, labels, text_cov, bank)


@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("mode", MODES)
def test_no_shape_depends_on_data_away_from_the_cpu(mode, metric):
    # these tensors hold no values: an output shape made from one is an error
    with torch.device("meta"):
        features = torch.empty(2, 7, 3, 4)
        labels = torch.empty(2, 25, 33, dtype=torch.int64)
        text_cov, bank = torch.empty(5, 5), torch.empty(5, 7)
    found = torch_impl.pooled_loss(features, labels, text_cov, bank, mode, 255, 0.5, metric)
    loss, new_bank, gram, centre, mass, weights = found
    kept = (loss, new_bank, gram, centre, mass, weights, labels, torch.empty_like(features))
    assert torch_impl.pooled_loss_backward(*kept, mode, 255).shape == (2, 7, 3, 4)
    with pytest.raises(NotImplementedError, match="nonzero"):  # as such an error reads
        features.nonzero()


@pytest.mark.parametrize("mode", MODES)
def test_empty_batch_backward(mode):
    features, labels = torch.zeros(0, 8, 4, 3), torch.zeros(0, 9, 7, dtype=torch.int64)
    features.requires_grad_()
    means, _ = copt_kernels.class_means(features, labels, 5, mode=mode)
    loss, _ = copt_kernels.pooled_covariance_loss(features, labels, torch.eye(5), mode=mode)
    (means.sum() + loss).backward()
    assert loss.item() == 0
    assert features.grad.shape == features.shape


def test_half_precision_features_take_a_float32_text_covariance():
    features, labels, text_cov, _ = inputs(dtype=torch.float16)
    with pytest.raises(ValueError, match="text_cov must be float32, on the device of features"):
        copt_kernels.pooled_covariance_loss(features, labels, text_cov.half())
    copt_kernels.pooled_covariance_loss(features, labels, text_cov)


def test_forward_mode_is_refused():
    features, labels, text_cov, bank = inputs()
    means, mass = copt_kernels.class_means(features, labels, 5)
    for function, at in (
        (lambda f: copt_kernels.class_means(f, labels, 5), features),
        (lambda f: copt_kernels.pooled_covariance_loss(f, labels, text_cov, bank), features),
        (lambda m: copt_kernels.covariance_loss(m, mass, text_cov, bank), means),
    ):
        with pytest.raises(ValueError, match="no forward-mode derivatives"):
            torch.func.jvp(function, (at,), (at,))
