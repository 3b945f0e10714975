import math

import pytest
import torch
import torch.nn.functional as F

from copt_d2.modeling.losses import cross_entropy


def test_divisor_counts_all_pixels_by_hand():
    # softmax probabilities 1/4 and 3/4 at every pixel
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    labels = torch.tensor([[[0, 1, 255], [255, 255, 255]]])
    expected = (math.log(4) + math.log(4 / 3)) / 6
    assert cross_entropy(logits, labels).item() == pytest.approx(expected)
    weights = torch.tensor([[[0.5, 0.0, 9.0], [9.0, 9.0, 9.0]]])
    assert cross_entropy(logits, labels, weights).item() == pytest.approx(0.5 * math.log(4) / 6)


def draw(seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 5, 4, 6, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 5, (3, 17, 22), generator=rng)
    labels = labels.masked_fill(torch.rand(labels.shape, generator=rng) < 0.3, 255)
    return logits, labels, torch.rand(labels.shape, generator=rng, dtype=torch.float64)


@pytest.mark.parity
@pytest.mark.parametrize("weighted", [True, False])
def test_value_and_gradient_equal_an_explicit_sum(weighted):
    logits, labels, weights = draw()
    leaf = logits.clone().requires_grad_()
    loss = cross_entropy(leaf, labels, weights if weighted else None)
    loss.backward()

    other = logits.clone().requires_grad_()
    resized = F.interpolate(other, (17, 22), mode="bilinear", align_corners=False)
    probability = resized.exp() / resized.exp().sum(1, keepdim=True)
    total = 0
    for n, row, column in (labels != 255).nonzero().tolist():
        weight = weights[n, row, column] if weighted else 1
        total = total - weight * probability[n, labels[n, row, column], row, column].log()
    expected = total / (3 * 17 * 22)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(leaf.grad, other.grad)


def test_weights_of_one_change_nothing():
    logits, labels, _ = draw()
    ones = torch.ones(labels.shape)
    torch.testing.assert_close(cross_entropy(logits, labels, ones), cross_entropy(logits, labels))


def test_uint8_labels_and_half_logits():
    logits, labels, _ = draw()
    expected = cross_entropy(logits.half().float(), labels)
    loss = cross_entropy(logits.half(), labels.byte())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("weighted", [True, False])
def test_all_ignored_is_zero_with_zero_gradient(weighted):
    logits, labels, weights = draw()
    logits.requires_grad_()
    ignored = torch.full_like(labels, 255)
    loss = cross_entropy(logits, ignored, weights if weighted else None)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_nan_logits_surface():
    logits, labels, _ = draw()
    logits[1, 2, 2, 3] = torch.nan
    assert cross_entropy(logits, labels).isnan()


def test_shapes_that_do_not_fit_are_named():
    logits, labels, weights = draw()
    with pytest.raises(ValueError, match=r"got \(3, 5, 4, 6\) and \(2, 17, 22\)"):
        cross_entropy(logits, labels[:2])
    with pytest.raises(ValueError, match=r"labels \(N, H, W\)"):
        cross_entropy(logits, labels[:, None])
    with pytest.raises(ValueError, match=r"weights \(3, 17, 21\)"):
        cross_entropy(logits, labels, weights[..., 1:])
