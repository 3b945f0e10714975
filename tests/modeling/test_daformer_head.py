"""DAFormer's decoder against a computation of its own in float64, and inside detectron2."""

import math

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from torch import nn
from torch.nn import functional as F

from copt_d2 import add_copt_config
from copt_d2.errors import InputError
from copt_d2.modeling import DAFormerHead

MIT_B5 = dict(zip(("res2", "res3", "res4", "res5"), (64, 128, 320, 512), strict=True))
SMALL = dict(zip(("res2", "res3", "res4", "res5"), (3, 4, 5, 7), strict=True))
SIZES = dict(zip(("res2", "res3", "res4", "res5"), ((17, 13), (9, 7), (5, 4), (3, 2)), strict=True))
BN_KEYS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def build(widths, **options):
    shapes = {
        name: ShapeSpec(channels=c, stride=4 << i) for i, (name, c) in enumerate(widths.items())
    }
    return DAFormerHead(shapes, **{"num_classes": 19, **options})


def features_of(widths, dtype=torch.float64):
    rng = torch.Generator().manual_seed(7)
    return {
        name: torch.randn(2, c, *SIZES[name], generator=rng, dtype=torch.float64).to(dtype)
        for name, c in widths.items()
    }


# the independent computation


def resize_matrix(old, new):
    """(new, old) bilinear weights with pixel centres at half-integers."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        position = max((i + 0.5) * old / new - 0.5, 0.0)
        low = min(int(position), old - 1)
        high, share = min(low + 1, old - 1), position - low
        matrix[i, low] += 1 - share
        matrix[i, high] += share
    return matrix


def resize(x, size):
    rows, columns = resize_matrix(x.shape[2], size[0]), resize_matrix(x.shape[3], size[1])
    return torch.einsum("yh,nchw,xw->ncyx", rows, x, columns)


def taps(x, dilation):
    """The nine shifted copies of x under a dilated 3x3 kernel, row by row."""
    height, width, d = *x.shape[2:], dilation
    padded = F.pad(x, (d, d, d, d))
    return [
        padded[:, :, dy : dy + height, dx : dx + width]
        for dy in (0, d, 2 * d)
        for dx in (0, d, 2 * d)
    ]


def conv(state, key, x, dilation=1):
    """1x1, 3x3 or depth-wise 3x3 convolution, then batch norm (batch statistics) and ReLU."""
    weight = state[f"{key}.conv.weight"]
    if weight.shape[-1] == 1:
        y = torch.einsum("oc,nchw->nohw", weight[..., 0, 0], x)
    else:
        kernel = weight.flatten(2).unbind(2)
        equation = "oc,nchw->nohw" if weight.shape[1] > 1 else "cz,nchw->nchw"
        y = sum(
            torch.einsum(equation, k, t) for k, t in zip(kernel, taps(x, dilation), strict=True)
        )
    mean = y.mean(dim=(0, 2, 3), keepdim=True)
    variance = (y - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    scale, shift = (state[f"{key}.bn.{name}"].view(1, -1, 1, 1) for name in ("weight", "bias"))
    return ((y - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp_min(0)


def reference(state, features, fusion):
    size, embedded = features["res2"].shape[2:], []
    for i, x in enumerate(features.values()):
        weight = state[f"embed_layers.{i}.proj.weight"]
        y = torch.einsum("oc,nchw->nohw", weight, x)
        y = y + state[f"embed_layers.{i}.proj.bias"].view(1, -1, 1, 1)
        embedded.append(resize(y, size))
    x = torch.cat(embedded, dim=1)
    if fusion == "conv":
        x = conv(state, "fuse_layer", x)
    else:
        branches = [conv(state, "fuse_layer.aspp_modules.0", x)]
        for i, dilation in ((1, 6), (2, 12), (3, 18)):
            key = f"fuse_layer.aspp_modules.{i}"
            y = conv(state, f"{key}.depthwise_conv", x, dilation)
            branches.append(conv(state, f"{key}.pointwise_conv", y))
        x = conv(state, "fuse_layer.bottleneck", torch.cat(branches, dim=1))
    logits = torch.einsum("kc,nchw->nkhw", state["conv_seg.weight"][..., 0, 0], x)
    return logits + state["conv_seg.bias"].view(1, -1, 1, 1)


@pytest.mark.parity
@pytest.mark.parametrize("fusion", ["sep_aspp", "conv"])
@pytest.mark.parametrize(
    # float32 sums of up to 32 * 9 products, through three batch norms
    ("dtype", "tolerance"),
    [(torch.float64, 1e-9), (torch.float32, 2e-4)],
)
def test_logits_and_gradients(fusion, dtype, tolerance):
    head = build(SMALL, num_classes=6, channels=8, fusion=fusion, dropout=0.0)
    with torch.no_grad():
        for parameter in head.parameters():  # norms and biases too
            parameter.add_(0.3 * torch.randn_like(parameter))
    state = {k: v.detach().double().requires_grad_() for k, v in head.named_parameters()}
    head.to(dtype)
    ours = {k: v.requires_grad_() for k, v in features_of(SMALL, dtype).items()}
    theirs = {k: v.detach().double().requires_grad_() for k, v in ours.items()}
    logits, expected = head.layers(ours), reference(state, theirs, fusion)
    assert logits.shape == (2, 6, 17, 13)
    torch.testing.assert_close(logits.double(), expected, rtol=tolerance, atol=tolerance)

    slope = torch.randn(expected.shape, dtype=torch.float64)
    (logits * slope.to(dtype)).sum().backward()
    (expected * slope).sum().backward()
    pairs = [(p.grad, state[k].grad) for k, p in head.named_parameters()]
    pairs += [(ours[k].grad, theirs[k].grad) for k in ours]
    for actual, wanted in pairs:
        size = max(wanted.abs().max().item(), 1.0)  # relative to the tensor's largest entry
        torch.testing.assert_close(actual.double(), wanted, rtol=0, atol=10 * tolerance * size)


# sizes, names, initial values


def conv_bn(prefix, *shape):
    keys = {f"{prefix}.conv.weight": shape}
    keys |= {f"{prefix}.bn.{name}": (shape[0],) for name in BN_KEYS[:4]}
    return keys | {f"{prefix}.bn.{BN_KEYS[4]}": ()}


def common_keys():
    keys = {"conv_seg.weight": (19, 256, 1, 1), "conv_seg.bias": (19,)}
    for i, width in enumerate(MIT_B5.values()):
        keys |= {
            f"embed_layers.{i}.proj.weight": (256, width),
            f"embed_layers.{i}.proj.bias": (256,),
        }
    return keys


def test_keys_and_size_of_the_decoder():
    head = build(MIT_B5)
    expected = common_keys() | conv_bn("fuse_layer.aspp_modules.0", 256, 1024, 1, 1)
    for i in (1, 2, 3):
        expected |= conv_bn(f"fuse_layer.aspp_modules.{i}.depthwise_conv", 1024, 1, 3, 3)
        expected |= conv_bn(f"fuse_layer.aspp_modules.{i}.pointwise_conv", 256, 1024, 1, 1)
    expected |= conv_bn("fuse_layer.bottleneck", 256, 1024, 3, 3)
    assert {k: tuple(v.shape) for k, v in head.state_dict().items()} == expected
    assert sum(p.numel() for p in head.parameters()) == 3_712_275


def test_keys_and_size_of_the_attention_head():
    head = build(MIT_B5, fusion="conv")
    expected = common_keys() | conv_bn("fuse_layer", 256, 1024, 1, 1)
    assert {k: tuple(v.shape) for k, v in head.state_dict().items()} == expected
    assert sum(p.numel() for p in head.parameters()) == 530_707


def test_initial_values():
    state = build(MIT_B5).state_dict()
    fuse = "fuse_layer.aspp_modules"
    for key, fan_out in {
        f"{fuse}.0.conv.weight": 256,
        f"{fuse}.1.depthwise_conv.conv.weight": 1024 * 9,  # not divided by the groups
        f"{fuse}.3.pointwise_conv.conv.weight": 256,
        "fuse_layer.bottleneck.conv.weight": 256 * 9,
    }.items():
        weight = state[key]
        # standard error of a standard deviation: 1 / sqrt(2n); five of them
        tolerance = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=tolerance)
        assert abs(weight.mean().item()) < 5 * weight.std() / math.sqrt(weight.numel())
    assert state["conv_seg.weight"].std().item() == pytest.approx(0.01, rel=0.06)
    assert not state["conv_seg.bias"].any()
    # framework default of a linear layer: uniform within 1 / sqrt(inputs)
    weight = state["embed_layers.2.proj.weight"]
    assert weight.abs().max() <= 1 / math.sqrt(320)
    assert weight.std().item() == pytest.approx(1 / math.sqrt(3 * 320), rel=0.02)
    for key, value in state.items():
        if ".bn." in key:
            ones = key.endswith(("bn.weight", "running_var"))
            assert torch.equal(value, torch.full_like(value, int(ones)))


def test_norms_and_convolutions_are_as_in_the_paper():
    head = build(SMALL, channels=8)
    norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(n.eps, n.momentum, n.affine) for n in norms} == {(1e-5, 0.1, True)}
    aspp = head.fuse_layer.aspp_modules
    assert [m.depthwise_conv.conv.dilation[0] for m in aspp[1:]] == [6, 12, 18]


def test_dropout_drops_whole_channels_before_the_classifier():
    head = build(SMALL, channels=8, dropout=0.5)
    seen = {}
    head.dropout.register_forward_hook(lambda _, inputs, output: seen.update(x=inputs[0], y=output))
    head.conv_seg.register_forward_hook(lambda _, inputs, __: seen.update(z=inputs[0]))
    head.layers(features_of(SMALL, torch.float32))
    assert seen["z"] is seen["y"]
    kept = seen["y"].flatten(2).any(dim=2)
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(seen["y"], 2 * seen["x"] * kept[:, :, None, None])
    head.eval()
    head.layers(features_of(SMALL, torch.float32))
    assert torch.equal(seen["y"], seen["x"])


def test_unknown_fusion():
    with pytest.raises(InputError, match=r"MODEL.SEM_SEG_HEAD.FUSION .*'pool'"):
        build(SMALL, fusion="pool")


# inside detectron2's own segmentor


@pytest.fixture
def stock(tiny_cfg):
    tiny_cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    return build_model(tiny_cfg)


def sample(*size, **more):
    return {"image": torch.randint(0, 256, (3, *size), dtype=torch.uint8), **more}


def test_trains_under_the_stock_segmentor(stock):
    batch = [
        sample(64, 96, sem_seg=torch.randint(0, 5, (64, 96))),
        sample(60, 70, sem_seg=torch.randint(0, 5, (60, 70))),  # padded with ignored pixels
    ]
    losses = stock(batch)
    assert list(losses) == ["loss_sem_seg"]
    losses["loss_sem_seg"].backward()
    assert all(p.grad is not None for p in stock.sem_seg_head.parameters())
    # random weights over five classes; the divisor counts the padding too
    share = (64 * 96 + 60 * 70) / (2 * 64 * 96)
    assert losses["loss_sem_seg"].item() == pytest.approx(share * math.log(5), rel=0.05)


def test_predicts_under_the_stock_segmentor(stock):
    with torch.no_grad():
        odd, even = stock.eval()([sample(65, 97, height=130, width=194), sample(64, 96)])
    assert odd["sem_seg"].shape == (5, 130, 194)
    assert even["sem_seg"].shape == (5, 64, 96)


def test_stock_predictions_are_the_enlarged_logits(stock):
    image = sample(64, 96)
    stock.eval()
    with torch.no_grad():
        actual = stock([image])[0]["sem_seg"]
        normalised = (image["image"] - stock.pixel_mean) / stock.pixel_std
        logits = stock.sem_seg_head.layers(stock.backbone(normalised[None]))
    expected = resize(logits.double(), (64, 96))[0]
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_default_config_is_the_papers_decoder():
    cfg = get_cfg()
    add_copt_config(cfg)
    shapes = {
        name: ShapeSpec(channels=c, stride=4 << i) for i, (name, c) in enumerate(MIT_B5.items())
    }
    head = DAFormerHead(cfg, shapes)
    assert sum(p.numel() for p in head.parameters()) == 3_712_275
    assert head.dropout.p == 0.1
    cfg.MODEL.SEM_SEG_HEAD.FUSION = "conv"
    assert sum(p.numel() for p in DAFormerHead(cfg, shapes).parameters()) == 530_707
