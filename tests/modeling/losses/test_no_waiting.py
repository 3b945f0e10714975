"""Nothing on the way forward or back waits for the device or has a shape that depends on data."""

import copt_kernels
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from copt_d2.modeling.losses import CoPTLoss, cross_entropy, feature_distance

WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")


def run_losses(features, logits, labels, classes, copt):
    """All losses forward and backward; returns their sum."""
    total = cross_entropy(logits, labels) + cross_entropy(logits, labels, torch.ones(labels.shape))
    total = total + feature_distance(features, torch.zeros_like(features), labels, classes)
    text_cov = copt.text_covariance
    for mode in ("nearest", "area", "bilinear"):
        means, mass = copt_kernels.class_means(features, labels, 5, mode=mode)
        for metric in ("cosine", "l1", "l2"):
            for bank in (None, copt.memory_bank):
                loss, _ = copt_kernels.covariance_loss(means, mass, text_cov, bank, metric=metric)
                total = total + loss
    total = total + copt(features, labels)
    total.backward()
    return total


def inputs():
    features = torch.randn(2, 7, 3, 4, requires_grad=True)
    logits = torch.randn(2, 5, 6, 8, requires_grad=True)
    labels = torch.randint(0, 5, (2, 25, 33))
    return features, logits, labels, torch.tensor([1, 3])


@pytest.mark.parametrize("bank_init", ["zeros", "first"])
def test_no_method_that_reads_a_value_is_called(bank_init, monkeypatch):
    arguments, copt = inputs(), CoPTLoss(torch.randn(5, 6), channels=7, bank_init=bank_init)

    def refuse(*_, **__):
        raise AssertionError("waits for the device")

    with monkeypatch.context() as patch:
        for name in WAITING:
            patch.setattr(torch.Tensor, name, refuse)
        with pytest.raises(AssertionError, match="waits"):  # the patch itself works
            bool(torch.ones(1))
        run_losses(*arguments, copt)
    assert arguments[0].grad.isfinite().all()


def test_no_shape_depends_on_data():
    # fake tensors hold no values: reading one, or an output shape made from one, is an error
    with FakeTensorMode():
        arguments, copt = inputs(), CoPTLoss(torch.randn(5, 6), channels=7)
        assert run_losses(*arguments, copt).shape == ()
        assert arguments[0].grad.shape == (2, 7, 3, 4)
