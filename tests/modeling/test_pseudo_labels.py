import math

import pytest
import torch

from copt_d2.modeling.pseudo_labels import make_pseudo_labels


def logits_of(confidence, winner=1):
    """(N, 2, H, W) whose softmax gives ``winner`` the probabilities (N, H, W)."""
    p = torch.as_tensor(confidence, dtype=torch.float64)
    pair = [torch.log1p(-p), torch.log(p)] if winner else [torch.log(p), torch.log1p(-p)]
    return torch.stack(pair, dim=1).float()


@pytest.mark.parity
def test_labels_and_one_weight_for_the_whole_batch():
    logits = torch.randn(3, 5, 7, 11, generator=torch.Generator().manual_seed(0)) * 3
    pseudo = make_pseudo_labels(logits, 0.9)
    confident = 0
    for n in range(3):
        for y in range(7):
            for x in range(11):
                scores = logits[n, :, y, x].double().tolist()
                total = sum(math.exp(score) for score in scores)
                best = max(range(5), key=scores.__getitem__)
                assert pseudo.labels[n, y, x] == best
                confident += math.exp(scores[best]) / total >= 0.9
    assert 20 < confident < 200
    expected = torch.full((3, 7, 11), confident / (3 * 7 * 11))
    torch.testing.assert_close(pseudo.weights, expected)
    assert pseudo.labels.dtype == torch.int64
    assert pseudo.weights.dtype == torch.float32


def test_the_share_is_not_taken_per_image():
    logits = logits_of([[[0.99, 0.99]], [[0.6, 0.6]]])
    assert make_pseudo_labels(logits, 0.968).weights.unique().tolist() == [0.5]


def test_the_threshold_counts_as_confident():
    logits = torch.zeros(1, 2, 3, 4)  # both classes at exactly 0.5
    assert make_pseudo_labels(logits, 0.5).weights.unique().tolist() == [1.0]
    assert make_pseudo_labels(logits, 0.5001).weights.unique().tolist() == [0.0]


def test_untrusted_pixels_weigh_nothing_but_count_in_the_share():
    logits = logits_of([[[0.99, 0.99, 0.6, 0.6]]])
    valid = torch.tensor([[[0, 1, 1, 0]]], dtype=torch.uint8)
    pseudo = make_pseudo_labels(logits, 0.968, valid=valid)
    assert pseudo.weights.tolist() == [[[0.0, 0.5, 0.5, 0.0]]]
    assert pseudo.weights.dtype == torch.float32
    assert (pseudo.labels == 1).all()


def test_rows_at_the_top_and_the_bottom():
    logits = logits_of(torch.full((2, 9, 3), 0.99))
    weights = make_pseudo_labels(logits, 0.9, ignore_top=2, ignore_bottom=3).weights
    assert weights[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert torch.equal(weights, weights[:1, :, :1].expand(2, 9, 3))
    assert make_pseudo_labels(logits, 0.9).weights.all()


@pytest.mark.parametrize("rows", [{"ignore_top": 12}, {"ignore_bottom": 12}])
def test_more_untrusted_rows_than_the_crop_has(rows):
    logits = logits_of(torch.full((1, 9, 3), 0.99))
    assert not make_pseudo_labels(logits, 0.9, **rows).weights.any()


def test_it_unpacks_and_leaves_its_input_alone():
    logits, valid = logits_of(torch.full((1, 5, 3), 0.99)), torch.ones(1, 5, 3)
    before = logits.clone()
    labels, weights = make_pseudo_labels(logits, 0.9, valid=valid, ignore_top=1)
    assert labels.shape == weights.shape == (1, 5, 3)
    assert torch.equal(logits, before)
    assert valid.all()


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        make_pseudo_labels(torch.zeros(1, 2, 3, 3), threshold)
