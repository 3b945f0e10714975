import math

import pytest
import torch
from torch import nn

from copt_d2.modeling.losses import FeatureDistanceLoss, feature_distance
from copt_d2.structures import SegOutput


def cell_labels():
    """Labels 8x12 for 2x3 features: cells of 4x4 = 16 pixels, 12 = three quarters."""
    labels = torch.zeros(1, 8, 12, dtype=torch.int64)
    labels[0, :3, :4] = 6  # cell (0, 0): 12 of 16
    labels[0, :4, 4:8] = 7  # cell (0, 1): 11 of 16
    labels[0, 0, 4:8] = 0
    labels[0, 1, 4] = 0
    labels[0, :4, 8:] = 255  # cell (0, 2): ignored
    labels[0, 4:, :4] = 13  # cell (1, 0): all, another thing
    labels[0, 4:, 4:8] = 0  # cell (1, 1): stuff
    labels[0, 4:, 8:] = 6  # cell (1, 2): 13 of 16, the rest ignored
    labels[0, 4, 8:11] = 255
    return labels


def test_value_and_gradient_by_hand():
    difference = torch.zeros(1, 2, 2, 3)
    difference[0, :, 0, 0] = torch.tensor([3.0, 4.0])  # norm 5
    difference[0, :, 1, 0] = torch.tensor([5.0, -12.0])  # norm 13
    difference[0, :, 0, 1] = difference[0, :, 0, 2] = difference[0, :, 1, 1] = 100.0
    frozen = torch.arange(12.0).view(1, 2, 2, 3)
    features = (frozen + difference).requires_grad_()
    loss = feature_distance(features, frozen, cell_labels(), [6, 7, 13])
    loss.backward()
    # cells (0, 0), (1, 0) and (1, 2) count, the last with distance 0 and hence no gradient
    assert loss.item() == pytest.approx((5 + 13 + 0) / 3)
    expected = torch.zeros(1, 2, 2, 3)
    expected[0, :, 0, 0] = torch.tensor([3.0, 4.0]) / 5 / 3
    expected[0, :, 1, 0] = torch.tensor([5.0, -12.0]) / 13 / 3
    torch.testing.assert_close(features.grad, expected)


@pytest.mark.parametrize(
    ("min_ratio", "classes", "cells"),
    [(0.75, [6], 2), (0.8, [6], 1), (0.6, [7], 1), (0.75, [7], 0), (0.0, [255], 0), (0.75, [], 0)],
)
def test_counted_cells(min_ratio, classes, cells):
    # distance 1 in every cell, so the loss is 1 if any cell counts; the gradient shows how many
    features = torch.ones(1, 1, 2, 3, requires_grad=True)
    frozen = torch.zeros(1, 1, 2, 3)
    loss = feature_distance(features, frozen, cell_labels(), torch.tensor(classes), min_ratio)
    loss.backward()
    assert loss.item() == (1 if cells else 0)
    assert (features.grad != 0).sum() == cells


def loop(features, frozen, labels, classes, min_ratio):
    """Independent float64 computation, cell by cell."""
    n, _, h, w = features.shape
    rows, columns = labels.shape[1] // h, labels.shape[2] // w
    distances = []
    for image in range(n):
        for i in range(h):
            for j in range(w):
                cell = labels[image, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                values, counts = cell.unique(return_counts=True)
                winner = values[counts.argmax()].item()
                if winner in classes and counts.max() / cell.numel() >= min_ratio:
                    difference = features[image, :, i, j] - frozen[image, :, i, j]
                    distances.append(difference.square().sum().sqrt())
    return torch.stack(distances).mean(), len(distances)


@pytest.mark.parity
@pytest.mark.parametrize("label_size", [(180, 256), (33, 41), (6, 8)])
def test_equals_a_loop_for_any_label_size(label_size):
    rng = torch.Generator().manual_seed(3)
    features = torch.randn(2, 5, 6, 8, generator=rng, dtype=torch.float64)
    frozen = torch.randn(2, 5, 6, 8, generator=rng, dtype=torch.float64)
    coarse = torch.randint(0, 4, (2, 1, 9, 12), generator=rng).double()
    labels = torch.nn.functional.interpolate(coarse, label_size).long()[:, 0]
    labels = labels.masked_fill(labels == 3, 255)
    leaves = [features.clone().requires_grad_(), features.clone().requires_grad_()]
    loss = feature_distance(leaves[0], frozen, labels, [0, 2], 0.6)
    expected, count = loop(leaves[1], frozen, labels, [0, 2], 0.6)
    assert 5 < count < 91
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_gradcheck():
    features = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    frozen = torch.randn(1, 3, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda f: feature_distance(f, frozen, cell_labels(), [6, 13]), features
    )


def test_no_counted_cell_is_exactly_zero_with_zero_gradient():
    features = torch.randn(1, 3, 2, 3, requires_grad=True)
    loss = feature_distance(features, torch.zeros(1, 3, 2, 3), cell_labels(), [5])
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_nan_of_a_counted_cell_surfaces_and_of_another_does_not():
    frozen = torch.zeros(1, 3, 2, 3)
    features = torch.ones(1, 3, 2, 3)
    features[0, 0, 0, 2] = torch.nan  # the ignored cell
    leaf = features.clone().requires_grad_()
    loss = feature_distance(leaf, frozen, cell_labels(), [6])
    loss.backward()
    assert loss.item() == pytest.approx(math.sqrt(3))
    assert leaf.grad.isfinite().all()
    features[0, 0, 0, 0] = torch.nan
    assert feature_distance(features, frozen, cell_labels(), [6]).isnan()


def test_label_dtypes_and_values_out_of_range():
    features, frozen = torch.randn(1, 3, 2, 3), torch.zeros(1, 3, 2, 3)
    expected = feature_distance(features, frozen, cell_labels(), [0, 6, 13])
    as_bytes = feature_distance(features, frozen, cell_labels().byte(), [0, 6, 13])
    assert torch.equal(as_bytes, expected)
    labels = cell_labels()
    labels[labels == 255] = -1
    labels[0, 0, 8] = 1000
    assert torch.equal(feature_distance(features, frozen, labels, (0, 6, 13)), expected)


def test_half_features_give_float32():
    features = torch.full((1, 64, 2, 3), 100.0).half()
    loss = feature_distance(features, torch.zeros_like(features), cell_labels(), [6])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(800)


def test_shapes_that_do_not_fit_are_named():
    features, labels = torch.zeros(1, 3, 2, 3), cell_labels()
    with pytest.raises(ValueError, match=r"got \(1, 3, 2, 3\) and \(1, 3, 2, 2\)"):
        feature_distance(features, features[..., 1:], labels, [6])
    with pytest.raises(ValueError, match=r"labels \(1, 1, 12\) must be \(N, H, W\)"):
        feature_distance(features, features, labels[:, :1], [6])
    with pytest.raises(ValueError, match=r"labels \(2, 8, 12\)"):
        feature_distance(features, features, labels.repeat(2, 1, 1), [6])


class Encoder(nn.Module):
    """Every image becomes 2x3 features; batch norm shows which mode it runs in."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.AdaptiveAvgPool2d((2, 3))

    def forward(self, images):
        return {"res5": self.pool(self.norm(images))}


def test_module_keeps_the_encoder_frozen_and_applies_its_weight():
    encoder = Encoder()
    loss = FeatureDistanceLoss(encoder, classes=[6, 13], weight=0.25)
    loss.train()
    assert loss.training
    assert not encoder.training
    assert not encoder.norm.training
    assert not any(parameter.requires_grad for parameter in loss.parameters())

    images = torch.randn(1, 3, 8, 12)
    features = torch.randn(1, 3, 2, 3, requires_grad=True)
    output = SegOutput(logits=torch.empty(0), features={"res5": features}, images=images)
    value = loss.on_output(output, cell_labels())
    frozen = encoder.pool(images) / math.sqrt(1 + 1e-5)  # running mean 0 and variance 1
    expected = 0.25 * feature_distance(features, frozen, cell_labels(), [6, 13])
    torch.testing.assert_close(value, expected)
    assert encoder.norm.num_batches_tracked == 0
    value.backward()
    assert features.grad.any()
    unweighted = loss(features, images, cell_labels())
    torch.testing.assert_close(unweighted, 4 * expected)
