import pytest
import torch
from copt_kernels.class_covariance import reference

from copt_d2.modeling.losses import CoPTLoss
from copt_d2.structures import SegOutput

TEXT = torch.randn(5, 12, generator=torch.Generator().manual_seed(9))


def batch(seed, classes=5):
    """Features (2, 7, 3, 4) float64 and labels (2, 25, 33) with some ignored."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 7, 3, 4, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, classes, (2, 25, 33), generator=rng)
    return features, labels.masked_fill(torch.rand(labels.shape, generator=rng) < 0.3, 255)


def expected_step(features, labels, bank, decay, metric="cosine", pooling="nearest"):
    means, mass = reference.class_means(features, labels, 5, mode=pooling)
    text_cov = torch.cov(TEXT.double())
    return reference.covariance_loss(means, mass, text_cov, bank, decay=decay, metric=metric)


def test_float64_features_and_a_float64_loss():
    features, labels = batch(0)
    single, double = CoPTLoss(TEXT, channels=7), CoPTLoss(TEXT, channels=7).double()
    assert single(features, labels).dtype == torch.float32
    value = double(features, labels)
    assert value.dtype == torch.float64
    means, mass = reference.class_means(features, labels, 5)
    bank = torch.zeros(5, 7, dtype=torch.float64)
    expected, _ = reference.covariance_loss(means, mass, double.text_covariance, bank, decay=0.5)
    torch.testing.assert_close(value, expected)


@pytest.mark.parity
@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("pooling", ["nearest", "area", "bilinear"])
def test_four_training_steps_equal_the_reference(metric, pooling):
    loss = CoPTLoss(TEXT, channels=7, decay=0.3, metric=metric, pooling=pooling)
    assert loss.memory_bank.dtype == torch.float32
    assert not loss.memory_bank.any()
    bank = torch.zeros(5, 7, dtype=torch.float64)
    for step in range(4):
        features, labels = batch(step, classes=3 + step % 3)  # classes 3 and 4 are absent at first
        leaf = features.float().requires_grad_()
        other = features.clone().requires_grad_()
        value = loss(leaf, labels)
        expected, bank = expected_step(other, labels, bank, 0.3, metric, pooling)
        value.backward()
        expected.backward()
        # float32 against float64
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(leaf.grad.double(), other.grad, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(loss.memory_bank.double(), bank, rtol=1e-4, atol=1e-5)
    assert (loss.memory_bank != 0).all()


def test_evaluation_uses_the_bank_without_changing_it():
    loss = CoPTLoss(TEXT, channels=7)
    loss(batch(0)[0].float(), batch(0)[1])
    bank = loss.memory_bank.clone()
    features, labels = batch(1)
    loss.eval()
    value = loss(features.float(), labels)
    expected, _ = expected_step(features, labels, bank.double(), 0.5)
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(loss.memory_bank, bank)


def test_backward_works_after_a_later_forward_has_changed_the_bank():
    loss = CoPTLoss(TEXT, channels=7)
    gradients = []
    for later in (False, True):
        loss.memory_bank.zero_()
        features, labels = batch(0)
        leaf = features.float().requires_grad_()
        value = loss(leaf, labels)
        if later:
            loss(batch(1)[0].float(), batch(1)[1])
        value.backward()
        gradients.append(leaf.grad)
    assert gradients[0].any()
    assert torch.equal(*gradients)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_without_memory_the_means_are_used_and_nothing_is_kept(metric):
    loss = CoPTLoss(TEXT, channels=7, decay=0.0, metric=metric)
    for step in range(2):
        features, labels = batch(step)
        expected, _ = expected_step(features, labels, None, 0.0, metric)
        value = loss(features.float(), labels)
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)
    assert not loss.memory_bank.any()


def test_first_copies_a_class_when_it_is_first_seen():
    loss = CoPTLoss(TEXT, channels=7, decay=0.3, bank_init="first")
    features, labels = batch(0, classes=3)
    leaf, other = features.float().requires_grad_(), features.clone().requires_grad_()
    value = loss(leaf, labels)
    expected, bank = expected_step(other, labels, None, 0.3)  # v = f, gradient factor 1
    value.backward()
    expected.backward()
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(leaf.grad.double(), other.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(loss.memory_bank.double(), bank, rtol=1e-5, atol=1e-6)
    assert not loss.memory_bank[3:].any()

    features, labels = batch(1)
    loss(features.float(), labels)
    means, _ = reference.class_means(features, labels, 5)
    bank[:3] = 0.3 * bank[:3] + 0.7 * means[:3]
    bank[3:] = means[3:]
    torch.testing.assert_close(loss.memory_bank.double(), bank, rtol=1e-5, atol=1e-6)


def test_absent_classes_keep_their_rows():
    loss = CoPTLoss(TEXT, channels=7)
    loss(batch(0)[0].float(), batch(0)[1])
    before = loss.memory_bank.clone()
    features, labels = batch(1, classes=2)
    loss(features.float(), labels)
    assert torch.equal(loss.memory_bank[2:], before[2:])
    assert (loss.memory_bank[:2] != before[:2]).all()


def test_all_ignored_is_zero_and_leaves_the_bank():
    loss = CoPTLoss(TEXT, channels=7)
    loss(batch(0)[0].float(), batch(0)[1])
    before = loss.memory_bank.clone()
    features = batch(1)[0].float().requires_grad_()
    value = loss(features, torch.full((2, 25, 33), 255))
    value.backward()
    assert value.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert torch.equal(loss.memory_bank, before)


def test_one_class_is_zero_up_to_rounding():
    features = batch(0)[0].float().requires_grad_()
    value = CoPTLoss(TEXT, channels=7)(features, torch.full((2, 25, 33), 2))
    value.backward()
    assert abs(value.item()) < 1e-6
    assert features.grad.abs().max() < 1e-6


def test_nan_features_surface():
    features, labels = batch(0)
    labels[0, 0, 0] = 1  # the first sampled pixel
    features[0, 2, 0, 0] = torch.nan
    assert CoPTLoss(TEXT, channels=7)(features.float(), labels).isnan()


@pytest.mark.parametrize("text", ["same", "opposite"])
def test_range(text):
    # features whose covariance is the text's: every class's cells hold its own text vector
    labels = torch.arange(5).view(1, 1, 5)
    features = TEXT.T.reshape(1, 12, 1, 5)
    loss = CoPTLoss(TEXT, channels=12)
    if text == "opposite":
        loss.text_covariance.neg_()
    assert loss(features, labels).item() == pytest.approx(0 if text == "same" else 2, abs=1e-6)


def test_weight_counts_on_the_output_only():
    features, labels = batch(0)
    output = SegOutput(logits=torch.empty(0), features={"res5": features.float()})
    loss = CoPTLoss(TEXT, channels=7, weight=0.2).eval()
    torch.testing.assert_close(loss.on_output(output, labels), 0.2 * loss(features.float(), labels))


def test_only_the_memory_bank_is_saved():
    loss = CoPTLoss(TEXT, channels=7)
    loss(batch(0)[0].float(), batch(0)[1])
    state = loss.state_dict()
    assert list(state) == ["memory_bank"]
    assert not list(loss.parameters())
    resumed = CoPTLoss(TEXT, channels=7)
    resumed.load_state_dict(state)
    features, labels = batch(1)
    assert torch.equal(resumed(features.float(), labels), loss(features.float(), labels))


def test_label_forms_agree():
    features, labels = batch(0)
    loss = CoPTLoss(TEXT, channels=7).eval()
    expected = loss(features.float(), labels)
    for other in (labels.byte(), labels.int(), labels[:, None]):
        assert torch.equal(loss(features.float(), other), expected)


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "dot"}, {"pooling": "max"}, {"bank_init": "random"}, {"decay": 1.0}],
)
def test_wrong_arguments_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"MODEL.COPT.{name.upper()} must .*{value}"):
        CoPTLoss(TEXT, **wrong)
