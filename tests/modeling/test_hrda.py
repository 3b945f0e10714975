"""HRDA against its equations written out pixel by pixel, and its edges."""

import random
from collections import Counter

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from copt_d2.errors import InputError
from copt_d2.modeling import HRDA, build_segmentation_network
from copt_d2.modeling.losses import FeatureLoss, cross_entropy
from copt_d2.modeling.networks.hrda import draw_box
from copt_d2.solver import build_optimizer
from copt_d2.structures import DomainBatch, PseudoLabels, StepDraws

BOX = (16, 48, 40, 72)


@pytest.fixture
def hrda_cfg(tiny_cfg):
    tiny_cfg.MODEL.HRDA.ENABLED = True
    tiny_cfg.MODEL.HRDA.CROP_SIZE = 32
    return tiny_cfg


@pytest.fixture
def network(hrda_cfg):
    torch.manual_seed(0)
    network = build_segmentation_network(hrda_cfg).double().eval()
    for head in (network.sem_seg_head, network.attention_head):
        nn.init.normal_(head.conv_seg.weight, 0.0, 0.5)
    return network


@pytest.fixture
def images():
    return torch.randn(
        2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def means_of_2x2(images):
    count, channels, height, width = images.shape
    return images.view(count, channels, height // 2, 2, width // 2, 2).mean(dim=(3, 5))


def doubled(maps):
    """Bilinear, twice the size: each output pixel lies a quarter from one input pixel's centre."""

    def along(x, dim):
        last = x.shape[dim] - 1
        rows = []
        for n in range(2 * (last + 1)):
            near, far = n // 2, min(max(n // 2 + (1 if n % 2 else -1), 0), last)
            rows.append(0.75 * x.select(dim, near) + 0.25 * x.select(dim, far))
        return torch.stack(rows, dim)

    return along(along(maps, 2), 3)


def parts(network, images):
    features = network.backbone(means_of_2x2(images))
    context = network.sem_seg_head.layers(features)
    return features, context, torch.sigmoid(network.attention_head.layers(features))


@pytest.mark.parity
def test_a_training_pass_by_hand(network, images):
    output = network(images, BOX)
    features, context, attention = parts(network, images)
    y1, y2, x1, x2 = BOX
    detail = network.sem_seg_head.layers(network.backbone(images[:, :, y1:y2, x1:x2]))
    weight = torch.zeros_like(attention)
    for y in range(y1 // 8, y2 // 8):
        for x in range(x1 // 8, x2 // 8):
            weight[:, :, y, x] = attention[:, :, y, x]
    placed = torch.zeros(2, 5, 16, 24, dtype=torch.float64)
    placed[:, :, y1 // 4 : y2 // 4, x1 // 4 : x2 // 4] = detail
    expected = doubled(weight) * placed + doubled((1 - weight) * context)
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.detail_logits, detail)
    torch.testing.assert_close(output.images, means_of_2x2(images))
    assert output.box == BOX
    for name, maps in features.items():
        torch.testing.assert_close(output.features[name], maps)
    # far from the box only the context speaks
    torch.testing.assert_close(output.logits[:, :, :, :6], doubled(context)[:, :, :, :6])


@pytest.mark.parity
def test_prediction_by_hand(network, images):
    network.window_batch = 2
    sizes = []
    hook = network.backbone.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape))
    found = network.predict(images)
    hook.remove()
    # 3 x 5 crops in twos, each of two images
    assert [size[0] for size in sizes] == [2, *[4] * 7, 2]
    assert all(tuple(size[2:]) == (32, 32) for size in sizes[1:])
    _, context, attention = parts(network, images)
    total, count = torch.zeros(2, 5, 16, 24, dtype=torch.float64), torch.zeros(16, 24)
    for y in (0, 16, 32):
        for x in (0, 16, 32, 48, 64):
            crop = network.backbone(images[:, :, y : y + 32, x : x + 32])
            rows, columns = slice(y // 4, y // 4 + 8), slice(x // 4, x // 4 + 8)
            total[:, :, rows, columns] += network.sem_seg_head.layers(crop)
            count[rows, columns] += 1
    logits = doubled(attention) * (total / count) + doubled((1 - attention) * context)
    expected = nn.functional.interpolate(logits, (64, 96), mode="bilinear")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [(50, 71), (20, 24), (33, 64)])
def test_any_size_is_predicted_in_any_batch(network, size):
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    found = network.predict(images)
    assert found.shape == (1, 5, *size)
    network.window_batch = 1
    torch.testing.assert_close(network.predict(images), found)


def test_one_box_a_pass_on_the_grid_and_never_the_last_offset():
    random.seed(0)
    boxes = [draw_box((64, 96), 32) for _ in range(2000)]
    rows, columns = Counter(box[0] for box in boxes), Counter(box[2] for box in boxes)
    assert set(rows) == {0, 8, 16, 24}
    assert set(columns) == {0, 8, 16, 24, 32, 40, 48, 56}
    assert min(rows.values()) > 400
    assert min(columns.values()) > 180
    assert all((box[1] - box[0], box[3] - box[2]) == (32, 32) for box in boxes)


def test_an_image_of_crop_size_is_taken_whole_and_nothing_is_drawn(network):
    state = random.getstate()
    output = network(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert output.box == (0, 32, 0, 32)
    assert random.getstate() == state


def test_sizes_and_boxes_off_the_grid_are_refused(network, images):
    with pytest.raises(ValueError, match="grid of 8 pixels"):
        network(images[:, :, :60])
    with pytest.raises(ValueError, match="grid of 8 pixels"):
        network(images, (4, 36, 0, 32))


@pytest.mark.parametrize(("key", "value"), [("CROP_SIZE", 40), ("WINDOW_BATCH", 0)])
def test_wrong_keys_are_named(hrda_cfg, key, value):
    hrda_cfg.MODEL.HRDA[key] = value
    with pytest.raises(InputError, match=f"MODEL.HRDA.{key} is {value}"):
        build_segmentation_network(hrda_cfg)


def test_losses_of_the_fused_logits_and_of_the_crop(hrda_cfg):
    torch.manual_seed(0)
    model = build_model(hrda_cfg).train()
    model.student.eval()
    model.teacher.update(model.student, 0)
    source = DomainBatch(torch.randn(2, 3, 64, 96), torch.randint(0, 5, (2, 64, 96)))
    target = DomainBatch(torch.randn(2, 3, 64, 96))
    draws = StepDraws(source_box=BOX, mixed_box=(0, 32, 0, 32), masked_box=(32, 64, 64, 96))
    source_losses, mixed_losses, masked_losses = model.training_phases(source, target, draws)
    assert set(mixed_losses) == {"loss_mixed_ce", "loss_mixed_ce_detail"}
    assert set(masked_losses) == {"loss_masked_ce", "loss_masked_ce_detail"}
    output = model.student(source.images, BOX)
    expected = 0.9 * cross_entropy(output.logits, source.labels)
    torch.testing.assert_close(source_losses["loss_source_ce"], expected)
    crop = source.labels[:, BOX[0] : BOX[1], BOX[2] : BOX[3]]
    expected = 0.1 * cross_entropy(output.detail_logits, crop)
    torch.testing.assert_close(source_losses["loss_source_ce_detail"], expected)
    assert source_losses["loss_source_copt"] > 0


def test_sizes_and_parameter_groups_of_the_paper(tiny_cfg, monkeypatch):
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda *args, **options: None)  # its time
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.VARIANT = "b5"
    tiny_cfg.MODEL.HRDA.ENABLED = True
    tiny_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
    tiny_cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 256
    network = build_segmentation_network(tiny_cfg)
    assert isinstance(network, HRDA)
    assert sum(p.numel() for p in network.parameters()) == 85_685_990
    assert len(network.state_dict()) == 1126
    assert sum(p.numel() for p in network.sem_seg_head.parameters()) == 3_712_275
    assert sum(p.numel() for p in network.attention_head.parameters()) == 530_707
    groups = build_optimizer(tiny_cfg, nn.ModuleDict({"student": network})).param_groups
    assert [len(group["params"]) for group in groups] == [47, 322, 730]


@pytest.mark.parametrize("enabled", [True, False])
def test_feature_losses_of_the_target_run_the_encoder_once(hrda_cfg, enabled):
    """As the whole student's features would give them, to the last bit, without its decoders."""
    hrda_cfg.MODEL.HRDA.ENABLED = enabled
    hrda_cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ("CoPTLoss", "FeatureDistanceLoss")
    hrda_cfg.MODEL.TIMM.FREEZE_NORM = True
    model = build_model(hrda_cfg)
    for parameter in model.student.backbone.parameters():  # away from the frozen encoder
        parameter.data.mul_(1.1)
    target = DomainBatch(torch.randn(2, 3, 64, 96))
    pseudo = PseudoLabels(torch.ones(2, 64, 96, dtype=torch.long), torch.ones(2, 64, 96))
    output, expected = model.student(target.images), {}
    for key, loss in model.target_feature_losses.items():
        expected[f"loss_target_{key}"] = loss.on_output(output, pseudo.labels)
    model.target_feature_losses["copt"].memory_bank.zero_()

    def gradients(losses):
        parameters = list(model.student.backbone.parameters())
        return torch.autograd.grad(sum(losses.values()), parameters)

    before = gradients(expected)
    seen = []
    hook = model.student.backbone.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    model.student.sem_seg_head.layers = None  # calling it would raise
    losses = model.target_losses(target, pseudo)
    hook.remove()
    assert [tuple(images.shape) for images in seen] == [
        (2, 3, 32, 48) if enabled else (2, 3, 64, 96)
    ]
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(gradients(losses), before, strict=True))


@pytest.mark.parametrize("base", [nn.Module, FeatureLoss])
def test_a_loss_of_the_target_may_read_logits(hrda_cfg, base):
    """Somebody else's, which says nothing of what it reads."""

    class MeanOfLogits(base):
        def on_output(self, output, labels):
            return output.logits.mean()

    model = build_model(hrda_cfg)
    model.target_feature_losses["mean"] = MeanOfLogits()
    target = DomainBatch(torch.randn(2, 3, 64, 96))
    losses = model.target_losses(target, model.teacher.pseudo_labels(target))
    losses["loss_target_mean"].backward()
    assert model.student.sem_seg_head.conv_seg.weight.grad is not None
