import copy

import pytest
import torch
from timm.layers import DropPath
from torch import nn

from copt_d2.modeling import EncoderDecoder, MixTransformer, TimmBackbone
from copt_d2.modeling.teacher import EMATeacher, ema_momentum
from copt_d2.structures import DomainBatch


class Network(nn.Module):
    """A convolution, a batch norm and both kinds of random layers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout2d(0.5)
        self.drop_path = DropPath(0.5)

    def predict(self, images):
        return self.drop_path(self.dropout(self.norm(self.conv(images))))


def shifted(network, step):
    """A copy with all parameters and buffers moved."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for value in [*other.parameters(), other.norm.running_mean]:
            value += step
    return other


@pytest.mark.parametrize(
    ("iteration", "alpha", "expected"),
    [
        (0, 0.999, 0.0),
        (1, 0.999, 0.5),
        (2, 0.999, 2 / 3),
        (998, 0.999, 998 / 999),
        (999, 0.999, 0.999),
        (39_999, 0.999, 0.999),
        (5, 0.7, 0.7),
    ],
)
def test_momentum(iteration, alpha, expected):
    assert ema_momentum(iteration, alpha) == pytest.approx(expected, rel=1e-12)


def test_iteration_zero_copies_parameters_but_not_buffers():
    teacher = EMATeacher(Network())
    student = shifted(Network(), 1.5)
    buffers = {name: value.clone() for name, value in teacher.network.named_buffers()}
    teacher.update(student, 0)
    for mine, theirs in zip(teacher.network.parameters(), student.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()
    for name, value in teacher.network.named_buffers():
        assert torch.equal(value, buffers[name])


@pytest.mark.parity
def test_four_updates_by_hand():
    first = Network()
    teacher = EMATeacher(copy.deepcopy(first), alpha=0.7)
    expected = None
    for iteration, momentum in enumerate((0, 1 / 2, 2 / 3, 0.7)):
        student = shifted(first, 0.1 * iteration**2)
        theirs = [p.detach().double() for p in student.parameters()]
        expected = (
            theirs
            if expected is None
            else [
                momentum * mine + (1 - momentum) * new
                for mine, new in zip(expected, theirs, strict=True)
            ]
        )
        teacher.update(student, iteration)
        for mine, value in zip(teacher.network.parameters(), expected, strict=True):
            torch.testing.assert_close(mine.double(), value, rtol=1e-6, atol=1e-6)  # float32


def test_an_update_leaves_the_student_alone():
    student = Network()
    before = copy.deepcopy(student.state_dict())
    teacher = EMATeacher(shifted(student, 1.0))
    teacher.update(student, 3)
    for key, value in student.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.requires_grad for p in student.parameters())


def test_modes_whatever_the_model_is_set_to():
    model = nn.ModuleDict({"teacher": EMATeacher(Network().eval()), "other": Network()})
    network = model["teacher"].network
    for setting in (None, "eval", "train", "eval"):
        if setting:
            getattr(model, setting)()
            assert model["other"].training == (setting == "train")
        assert network.norm.training
        assert not network.dropout.training
        assert not network.drop_path.training


def test_frozen_batch_norms_stay_frozen():
    backbone = TimmBackbone("test_efficientnet", freeze_norm=True, drop_path_rate=0.3)
    teacher = EMATeacher(EncoderDecoder(backbone, nn.Dropout(0.5)))
    teacher.train()
    modules = list(backbone.modules())
    assert not any(m.training for m in modules if isinstance(m, nn.BatchNorm2d))
    paths = [m for m in modules if isinstance(m, DropPath)]
    assert paths
    assert not any(m.training for m in paths)


def test_no_block_of_mit_is_left_out():
    teacher = EMATeacher(EncoderDecoder(MixTransformer("b0", drop_path_rate=0.9), nn.Identity()))
    teacher.train()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        first, second = (teacher.network.backbone(images)["res5"] for _ in range(2))
        whole = copy.deepcopy(teacher.network.backbone).eval()(images)["res5"]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole)


def test_statistics_are_the_batchs_own_and_nothing_is_random():
    teacher = EMATeacher(Network())
    with torch.no_grad():
        teacher.network.norm.running_mean += 9
    images = torch.randn(3, 3, 5, 7)
    logits = teacher.predict(images)
    assert torch.equal(teacher.predict(images), logits)
    torch.testing.assert_close(logits.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        logits.var(dim=(0, 2, 3), correction=0), torch.ones(4), rtol=1e-2, atol=0
    )
    assert teacher.network.norm.num_batches_tracked == 2  # its statistics drift and are not used


def test_nothing_needs_a_gradient():
    teacher = EMATeacher(Network())
    assert not any(p.requires_grad for p in teacher.parameters())
    pseudo = teacher.pseudo_labels(DomainBatch(torch.randn(2, 3, 5, 7, requires_grad=True)))
    assert not pseudo.weights.requires_grad
    teacher.update(Network(), 0)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_pseudo_labels_use_its_settings_and_the_valid_mask():
    network = Network()
    with torch.no_grad():
        network.norm.weight.mul_(20)  # confident
    teacher = EMATeacher(network, threshold=0.6, ignore_top=1, ignore_bottom=2)
    images, valid = torch.randn(2, 3, 6, 5), torch.ones(2, 6, 5)
    valid[0, 2] = 0
    pseudo = teacher.pseudo_labels(DomainBatch(images, valid=valid))
    logits = teacher.predict(images)
    share = (logits.softmax(dim=1).amax(dim=1) >= 0.6).double().mean().float()
    assert share > 0.9
    assert torch.equal(pseudo.labels, logits.argmax(dim=1))
    rows = torch.tensor([[0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0]])
    torch.testing.assert_close(pseudo.weights, (rows * share)[:, :, None].expand(2, 6, 5))
