"""What each phase of an iteration computes, with a one-layer student and injected draws."""

import copy
import math
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from copt_d2.augment import gaussian_blur
from copt_d2.errors import InputError
from copt_d2.modeling import UDASegmentor
from copt_d2.modeling.meta_arch import uda_segmentor
from copt_d2.modeling.preprocessing import ImagePreprocessor
from copt_d2.modeling.teacher import EMATeacher
from copt_d2.structures import DomainBatch, SegOutput, StepDraws, StrongDraw

MEAN, STD = (110.0, 120.0, 130.0), (55.0, 60.0, 65.0)
SIZE = (8, 12)


class Student(nn.Module):
    """One 1x1 convolution at a quarter of the size; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)
        self.seen = []

    def forward(self, images, box=None):
        logits = self.conv(F.avg_pool2d(images, 4))
        self.seen.append((images, box, logits))
        return SegOutput(logits, features={"res5": logits}, images=images)

    def predict(self, images):
        return F.interpolate(3 * self.conv(F.avg_pool2d(images, 4)), images.shape[2:])


class MeanOfFeatures(nn.Module):
    def on_output(self, output, labels):
        return output.features["res5"].mean() + 0 * labels.sum()


def build(phases=("source", "mixed", "masked"), feature_losses=None, **options):
    student = Student()
    return UDASegmentor(
        student=student,
        teacher=EMATeacher(copy.deepcopy(student), threshold=0.5),
        feature_losses=nn.ModuleDict(feature_losses or {}),
        preprocessor=ImagePreprocessor(MEAN, STD, SIZE),
        phases=phases,
        **{"mask_block_size": 4, **options},
    )


@pytest.fixture
def source():
    labels = torch.randint(0, 5, (2, *SIZE))
    labels[0, :3] = 255
    return DomainBatch(torch.randn(2, 3, *SIZE), labels)


@pytest.fixture
def target():
    valid = torch.ones(2, *SIZE)
    valid[:, -2:] = 0
    return DomainBatch(torch.randn(2, 3, *SIZE), valid=valid)


@pytest.fixture
def draws():
    return StepDraws(
        mix_masks=torch.rand(2, 1, *SIZE) > 0.5,
        # saturation and hue as they are, so that the expected jitter is two sums and a product
        mixed_strong=[StrongDraw((1.1, 0.9, 1.0, 0.0), (1, 0, 2, 3)), StrongDraw()],
        masked_strong=[StrongDraw(sigma=0.8), StrongDraw((0.9, 1.2, 1.0, 0.0), (0, 1, 2, 3))],
        patch_mask=(torch.rand(2, 1, *SIZE) > 0.7).float(),
    )


def losses_of(model, source, target, draws):
    found = {}
    for phase in model.training_phases(source, target, draws):
        found.update(phase)
    return found


def weighted_cross_entropy(logits, labels, weights):
    """(1 / NHW) sum of w [y != 255] CE in float64, pixel by pixel."""
    logits = F.interpolate(
        logits.detach().double(), labels.shape[1:], mode="bilinear", align_corners=False
    )
    total = 0.0
    for n in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if labels[n, y, x] != 255:
                    scores = logits[n, :, y, x].tolist()
                    log_sum = math.log(sum(math.exp(s) for s in scores))
                    total += weights[n, y, x].item() * (log_sum - scores[labels[n, y, x]])
    return total / labels.numel()


def jittered(image, *operations):
    """Brightness (added) and contrast (multiplied) on de-normalised pixels, in float64."""
    mean, std = (torch.tensor(v).double().view(3, 1, 1) for v in (MEAN, STD))
    pixels = (image.double() * std + mean) / 255
    for kind, value in operations:
        pixels = (pixels + value if kind == "add" else pixels * value).clamp(0, 1)
    return ((pixels * 255 - mean) / std).float()


@pytest.mark.parity
def test_source_phase(source, target):
    model = build(feature_losses={"mean": MeanOfFeatures()})
    losses = next(model.training_phases(source, target))
    images, _, logits = model.student.seen[0]
    assert images is source.images
    assert list(losses) == ["loss_source_ce", "loss_source_mean"]
    expected = weighted_cross_entropy(logits, source.labels, torch.ones(2, *SIZE))
    assert losses["loss_source_ce"].item() == pytest.approx(expected, rel=1e-5)
    assert losses["loss_source_mean"].item() == pytest.approx(logits.mean().item())


@pytest.mark.parity
def test_mixed_phase(source, target, draws):
    model = build(phases=("mixed",))
    pseudo = model.teacher.pseudo_labels(target)
    losses = losses_of(model, source, target, draws)
    images, _, logits = model.student.seen[0]
    inside = draws.mix_masks.float()
    mixed = inside * source.images + (1 - inside) * target.images
    first = jittered(mixed[0], ("multiply", 0.9), ("add", 0.1))
    torch.testing.assert_close(images, torch.stack([first, mixed[1]]), rtol=1e-4, atol=1e-4)
    inside = inside[:, 0]
    labels = torch.where(inside == 1, source.labels, pseudo.labels)
    weights = inside + (1 - inside) * pseudo.weights  # 1 in the source, the teacher's elsewhere
    assert 0 < pseudo.weights.max() < 1
    expected = weighted_cross_entropy(logits, labels, weights)
    assert list(losses) == ["loss_mixed_ce"]
    assert losses["loss_mixed_ce"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_masked_phase(source, target, draws, factor):
    model = build(phases=("masked",), mask_weight=factor)
    clean = target.images.clone()
    pseudo = model.teacher.pseudo_labels(target)
    losses = losses_of(model, source, target, draws)
    images, _, logits = model.student.seen[0]
    first = gaussian_blur(target.images[:1], 0.8)[0]
    second = jittered(target.images[1], ("add", -0.1), ("multiply", 1.2))
    # hidden pixels are 0 after the augmentation: the mean colour
    expected = torch.stack([first, second]) * draws.patch_mask
    torch.testing.assert_close(images, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(target.images, clean)
    value = factor * weighted_cross_entropy(logits, pseudo.labels, pseudo.weights)
    assert list(losses) == ["loss_masked_ce"]
    assert losses["loss_masked_ce"].item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("domains", [("source",), ("source", "target")])
def test_masked_phase_of_other_domains(source, target, draws, domains):
    # MIC's "separatesrc" and "separate" modes: of two images the first of each domain
    model = build(phases=("masked",), mask_domains=domains, mask_augment=False)
    pseudo = model.teacher.pseudo_labels(target)
    losses = losses_of(model, source, target, draws)
    images, _, logits = model.student.seen[0]
    ones = torch.ones(SIZE)
    if len(domains) == 1:
        clean, labels, weights = source.images, source.labels, torch.stack([ones, ones])
    else:
        clean = torch.stack([source.images[0], target.images[0]])
        labels = torch.stack([source.labels[0], pseudo.labels[0]])
        weights = torch.stack([ones, pseudo.weights[0]])
    assert torch.equal(images, clean * draws.patch_mask)
    expected = weighted_cross_entropy(logits, labels, weights)
    assert losses["loss_masked_ce"].item() == pytest.approx(expected, rel=1e-5)


class LabelledMean(nn.Module):
    """Keeps the labels that it is given; the mean of the logits as loss."""

    def on_output(self, output, labels):
        self.labels = labels
        return output.logits.mean()


def test_feature_losses_of_the_target(source, target):
    extra = LabelledMean()
    model = build(target_feature_losses=nn.ModuleDict({"mean": extra}))
    pseudo = model.teacher.pseudo_labels(target)
    phases = [list(phase) for phase in model.training_phases(source, target)]
    assert phases == [
        ["loss_source_ce"],
        ["loss_target_mean"],
        ["loss_mixed_ce"],
        ["loss_masked_ce"],
    ]
    assert model.student.seen[1][0] is target.images  # clean: neither mixed nor masked
    assert (target.valid == 0).any()
    trusted = target.valid == 1
    assert torch.equal(extra.labels[trusted], pseudo.labels[trusted])
    assert (extra.labels[~trusted] == 255).all()


def test_one_pseudo_label_for_both_phases(source, target, monkeypatch):
    model = build()
    calls = []
    original = model.teacher.pseudo_labels
    monkeypatch.setattr(
        model.teacher, "pseudo_labels", lambda batch: calls.append(batch) or original(batch)
    )
    losses = losses_of(model, source, target, None)
    assert list(losses) == ["loss_source_ce", "loss_mixed_ce", "loss_masked_ce"]
    assert calls == [target]
    share = original(target).weights.amax()  # of all pixels, trusted or not
    torch.testing.assert_close(model.diagnostics["pseudo_label_weight"], share)
    assert not model.diagnostics["pseudo_label_weight"].requires_grad


def test_no_work_is_done_before_a_phase_is_asked_for(source, target):
    model = build()
    phases = model.training_phases(source, target)
    assert model.student.seen == []
    next(phases)
    assert len(model.student.seen) == 1
    next(phases)
    assert len(model.student.seen) == 2


@pytest.mark.parametrize(
    "phases", [("source",), ("source", "masked"), ("source", "mixed"), ("mixed", "masked")]
)
def test_the_list_of_phases_decides(phases, source, target):
    losses = losses_of(build(phases), source, target, None)
    assert list(losses) == [f"loss_{phase}_ce" for phase in phases]


def test_boxes_are_passed_on(source, target):
    model = build()
    boxes = [(0, 4, 0, 8), (4, 8, 4, 12), (0, 4, 4, 12)]
    draws = StepDraws(source_box=boxes[0], mixed_box=boxes[1], masked_box=boxes[2])
    losses_of(model, source, target, draws)
    assert [box for _, box, _ in model.student.seen] == boxes


def test_what_is_not_injected_is_drawn(source, target):
    model = build(
        phases=("mixed", "masked"),
        strong={"jitter_probability": 1.0, "jitter_strength": 0.2, "blur_probability": 1.0},
        mask_ratio=0.5,
        mask_block_size=4,
    )
    losses_of(model, source, target, None)
    mixed, masked = (images for images, _, _ in model.student.seen)
    losses_of(model, source, target, None)
    again, masked_again = (images for images, _, _ in model.student.seen[2:])
    assert not torch.equal(mixed, again)
    hidden = (masked == 0).all(dim=1)
    blocks = hidden.float().reshape(2, 2, 4, 3, 4).mean(dim=(2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}  # whole patches of 4 pixels
    assert not torch.equal(hidden, (masked_again == 0).all(dim=1))


def test_the_strong_settings_are_used(source, target):
    model = build(
        phases=("masked",),
        strong={"jitter_probability": 0.0, "jitter_strength": 0.2, "blur_probability": 0.0},
        mask_ratio=0.0,
        mask_block_size=4,
    )
    losses_of(model, source, target, None)
    torch.testing.assert_close(model.student.seen[0][0], target.images)


def test_the_masked_batch_shares_one_order_and_one_sigma(source, target, monkeypatch):
    seen = []
    monkeypatch.setattr(
        uda_segmentor,
        "strong_augment",
        lambda images, draws, *_: seen.append(draws) or images,
    )
    strong = {"jitter_probability": 1.0, "jitter_strength": 0.2, "blur_probability": 1.0}
    losses_of(build(("mixed", "masked"), strong=strong), source, target, None)
    mixed, masked = seen
    assert mixed[0].sigma != mixed[1].sigma
    assert masked[0].sigma == masked[1].sigma
    assert masked[0].order == masked[1].order
    assert masked[0].factors != masked[1].factors


def test_unknown_phase():
    with pytest.raises(InputError, match=r"MODEL.UDA.PHASES: \['mask'\] unknown; known: source"):
        build(phases=("source", "mask"))


def test_a_phase_without_its_teacher():
    with pytest.raises(InputError, match="need a teacher"):
        UDASegmentor(
            student=Student(),
            teacher=None,
            feature_losses=nn.ModuleDict(),
            preprocessor=ImagePreprocessor(MEAN, STD, SIZE),
            phases=("source", "mixed"),
        )


def test_draws_follow_the_seeds(source, target):
    model = build()
    results = []
    for _ in range(2):
        random.seed(3)
        torch.manual_seed(3)
        results.append(losses_of(model, source, target, None))
    assert results[0] == results[1]
