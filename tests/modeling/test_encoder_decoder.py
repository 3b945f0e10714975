import pytest
import torch
from torch import nn
from torch.nn import functional as F

from copt_d2.errors import InputError
from copt_d2.modeling import DAFormerHead, EncoderDecoder, TimmBackbone, build_segmentation_network


class Encoder(nn.Module):
    def forward(self, images):
        return {"res2": F.avg_pool2d(images, 4, ceil_mode=True), "res5": images.mean((2, 3))}


class Head(nn.Module):
    def layers(self, features):
        return torch.cat([features["res2"], -features["res2"]], dim=1)


def test_output_holds_logits_features_and_images():
    images = torch.randn(2, 3, 20, 28)
    output = EncoderDecoder(Encoder(), Head())(images)
    assert output.logits.shape == (2, 6, 5, 7)
    assert output.images is images
    assert set(output.features) == {"res2", "res5"}
    torch.testing.assert_close(output.features["res5"], images.mean((2, 3)))
    assert output.detail_logits is None
    assert output.box is None


def test_a_box_is_the_whole_image(tiny_cfg):
    network = build_segmentation_network(tiny_cfg).eval()
    images = torch.randn(1, 3, 32, 64)
    assert torch.equal(network(images, (0, 32, 0, 64)).logits, network(images).logits)
    with pytest.raises(ValueError, match="no detail crop"):
        network(images, (0, 32, 0, 32))


@pytest.mark.parametrize("mode", [True, False])
def test_predict_enlarges_to_the_image(mode):
    network = EncoderDecoder(Encoder(), Head()).train(mode)
    # one row of cells with the values 0 and 8: pixels 2 .. 5 lie between the two centres
    images = torch.zeros(1, 3, 4, 8)
    images[..., 4:] = 8
    logits = network.predict(images)
    assert logits.shape == (1, 6, 4, 8)
    expected = torch.tensor([0.0, 0, 1, 3, 5, 7, 8, 8])
    torch.testing.assert_close(logits[0, 0], expected.expand(4, 8))
    torch.testing.assert_close(logits[0, 3], -expected.expand(4, 8))


def test_predict_at_odd_sizes(tiny_cfg):
    network = build_segmentation_network(tiny_cfg).eval()
    with torch.no_grad():
        assert network.predict(torch.randn(2, 3, 65, 99)).shape == (2, 5, 65, 99)
        assert network(torch.randn(1, 3, 65, 99)).logits.shape == (1, 5, 17, 25)


def test_built_from_the_config(tiny_cfg):
    network = build_segmentation_network(tiny_cfg)
    assert isinstance(network.backbone, TimmBackbone)
    assert isinstance(network.sem_seg_head, DAFormerHead)
    assert network.sem_seg_head.conv_seg.weight.shape == (5, 8, 1, 1)
    assert {key.split(".")[0] for key in network.state_dict()} == {"backbone", "sem_seg_head"}


@pytest.mark.parametrize(
    ("section", "near"), [("BACKBONE", "build_timm_backbone"), ("SEM_SEG_HEAD", "DAFormerHead")]
)
def test_unknown_parts_are_named(tiny_cfg, section, near):
    tiny_cfg.MODEL[section].NAME = "Nothing"
    with pytest.raises(InputError, match=f"MODEL.{section}.NAME 'Nothing'.*{near}"):
        build_segmentation_network(tiny_cfg)
