"""Which sizes an encoder takes is found by trying; images are padded to them, maps cut again."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn
from torch.nn import functional as F

from copt_d2.errors import InputError
from copt_d2.modeling import TimmBackbone
from copt_d2.modeling.backbone import timm_features
from copt_d2.modeling.backbone.encoder_sizes import AcceptedSizes, accepted_sizes
from copt_d2.modeling.meta_device import on_meta, without_values

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


class Encoder(Backbone):
    """Means over cells, if ``accepts(height, width)``."""

    def __init__(self, accepts, round_up=True):
        super().__init__()
        self.accepts, self.round_up = accepts, round_up

    def forward(self, images):
        height, width = images.shape[-2:]
        if not self.accepts(height, width):
            raise AssertionError(f"bad size {height}x{width}")
        self.kept = images  # as some encoders keep a grid
        pool = F.avg_pool2d
        return {n: pool(images, s, ceil_mode=self.round_up) for n, s in STRIDES.items()}

    def output_shape(self):
        return {name: ShapeSpec(channels=3, stride=stride) for name, stride in STRIDES.items()}


@pytest.mark.parametrize(
    ("accepts", "expected"),
    [
        (lambda h, w: True, AcceptedSizes()),
        (lambda h, w: min(h, w) >= 20, AcceptedSizes(least=32)),
        (lambda h, w: h % 32 == w % 32 == 0, AcceptedSizes(32)),
        (lambda h, w: h % 224 == w % 224 == 0, AcceptedSizes(224)),
        (lambda h, w: h % 160 == w % 160 == 0, AcceptedSizes(160)),  # of its own size
        (lambda h, w: (h, w) == (160, 192), AcceptedSizes(only=(160, 192))),
    ],
)
def test_sizes_are_found_by_trying(accepts, expected):
    encoder = Encoder(accepts)
    assert accepted_sizes(encoder, (160, 192)) == expected
    assert not hasattr(encoder, "kept")  # it was a copy that ran
    assert encoder.training


def test_maps_that_are_rounded_down_by_one_cell_are_let_be():
    assert accepted_sizes(Encoder(lambda h, w: h > 31, round_up=False), (64, 64)).multiple == 1


def test_an_encoder_that_takes_nothing_says_why():
    with pytest.raises(ValueError, match="bad size 64x64"):
        accepted_sizes(Encoder(lambda h, w: False), (64, 64))


def test_maps_that_do_not_cover_the_image_are_refused():
    """As Inception's, whose convolutions are not padded."""
    encoder = Encoder(lambda h, w: True)
    whole = encoder.forward
    encoder.forward = lambda images: whole(images[:, :, 8:-8, 8:-8])
    with pytest.raises(ValueError, match="map of stride 4 is 60x60 for an image of 256x256, not 6"):
        accepted_sizes(encoder, (256, 256))


@pytest.mark.parametrize(
    ("sizes", "given", "padded"),
    [
        (AcceptedSizes(), (7, 500), (7, 500)),
        (AcceptedSizes(least=32), (7, 500), (32, 500)),
        (AcceptedSizes(64), (64, 65), (64, 128)),
        (AcceptedSizes(only=(160, 192)), (1, 192), (160, 192)),
        (AcceptedSizes(only=(160, 192)), (160, 193), None),
    ],
)
def test_padded_size(sizes, given, padded):
    assert sizes.padded(given) == padded


class TimmEncoder(nn.Module):
    """timm's interface over ``Encoder``."""

    class feature_info:
        reduction = staticmethod(lambda: list(STRIDES.values()))
        channels = staticmethod(lambda: [3] * 4)
        module_name = staticmethod(lambda: ["a"] * 4)

    def __init__(self, accepts):
        super().__init__()
        self.inner = Encoder(accepts)

    def forward(self, images):
        return list(self.inner(images).values())


@pytest.fixture
def backbone(monkeypatch):
    def build(accepts):
        monkeypatch.setattr(timm_features, "_create_encoder", lambda *_: TimmEncoder(accepts))
        return TimmBackbone("test_resnet")  # made for 160x160

    return build


def test_images_are_padded_with_zeros_and_maps_cut(backbone):
    built = backbone(lambda h, w: h % 64 == w % 64 == 0)
    images = torch.randn(2, 3, 65, 100)
    maps = built(images)
    padded = F.pad(images, (0, 28, 0, 63))
    for name, stride in STRIDES.items():
        size = -(-65 // stride), -(-100 // stride)
        expected = F.avg_pool2d(padded, stride)[:, :, : size[0], : size[1]]
        assert torch.equal(maps[name], expected)


def test_an_encoder_of_one_size(backbone):
    built = backbone(lambda h, w: (h, w) == (160, 160))
    assert built(torch.randn(1, 3, 100, 160))["res2"].shape == (1, 3, 25, 40)
    with pytest.raises(InputError, match=r"'test_resnet' takes images of \(160, 160\).*\(160, 161"):
        built(torch.randn(1, 3, 160, 161))


def test_an_encoder_that_cannot_be_used_is_one_line(backbone):
    with pytest.raises(InputError, match=r"'test_resnet' cannot be an encoder: bad size 160x160"):
        backbone(lambda h, w: False)


@pytest.mark.parametrize(
    "name", ["maxvit_pico_rw_256", "swin_tiny_patch4_window7_224", "test_convnext"]
)
@pytest.mark.parametrize("size", [(64, 96), (135, 101), (3, 2)])
def test_timm_encoders_that_want_certain_sizes(encoders, name, size):
    maps = encoders(name)(torch.randn(1, 3, *size))
    for stage, stride in STRIDES.items():
        for found, side in zip(maps[stage].shape[2:], size, strict=True):
            assert abs(found - side / stride) < 1


@pytest.fixture(scope="module")
def encoders():
    """By name, each built once."""
    built = {}
    return lambda name: built.get(name) or built.setdefault(name, TimmBackbone(name).eval())


def test_the_sizes_of_a_usual_encoder_stay(encoders):
    assert encoders("test_efficientnet")._sizes == AcceptedSizes()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_vit", r"strides \[16, 16, 16\], as a plain ViT, not .*use an encoder with stages"),
        ("deit_tiny_patch16_224", "as a plain ViT"),
        ("levit_128s", r"strides \[16, 32, 64\], not at 4"),
    ],
)
def test_encoders_without_stages_are_refused_with_what_to_use(name, words):
    with pytest.raises(InputError, match=words) as error:
        TimmBackbone(name)
    assert "build_mit_backbone" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["fastvit_t8", "mobileone_s0"])
def test_encoders_that_abort_with_the_channels_last(name):
    """A strided 1x1 convolution of the image: its backward pass writes beyond its memory there."""
    backbone = TimmBackbone(name)
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    seen = []
    backbone.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    maps = backbone(images)
    assert seen[0].is_contiguous()
    assert all(p.is_contiguous() for p in backbone.parameters())
    sum(x.mean() for x in maps.values()).backward()


def test_other_encoders_keep_the_channels_last():
    weight = TimmBackbone("test_efficientnet").encoder.conv_stem.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


# the meta device


def test_a_copy_without_values_shares_nothing():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network[0].extra = [torch.ones(1)]
    before = torch.get_rng_state()
    copied = without_values(network)
    assert on_meta(copied, (2, 3, 5, 7)).shape == (2, 4, 5, 7)
    assert all(value.is_meta for value in copied.state_dict().values())
    assert not any(value.is_meta for value in network.state_dict().values())
    assert network[1].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_norm_of_a_single_value_is_found():
    network = without_values(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        on_meta(network, (1, 3, 1, 1))
    assert on_meta(network, (1, 3, 1, 2)).shape == (1, 4, 1, 2)
    assert on_meta(network.eval(), (1, 3, 1, 1)).shape == (1, 4, 1, 1)
