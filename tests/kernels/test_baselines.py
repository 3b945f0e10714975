"""What the benchmarks compare with computes the same loss."""

import baselines
import copt_kernels
import pytest
import torch


@pytest.mark.parametrize("way", ["per_class_loop", "one_hot_product", "index_add"])
def test_ways_agree(way):
    features = torch.randn(2, 9, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 5, (2, 17, 13)).masked_fill(torch.rand(2, 17, 13) < 0.3, 255)
    text_cov = copt_kernels.class_covariance(torch.randn(6, 8, dtype=torch.float64))
    bank = torch.randn(6, 9, dtype=torch.float64)
    expected, _ = copt_kernels.pooled_covariance_loss(features, labels, text_cov, bank)
    found = getattr(baselines, way)(features, labels, text_cov, bank)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, features)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_upsampled_means_agree():
    features, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 6, (2, 21, 13))
    found = baselines.upsampled_means(features, labels, 7)
    expected, _ = copt_kernels.class_means(features, labels, 7, mode="bilinear")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
