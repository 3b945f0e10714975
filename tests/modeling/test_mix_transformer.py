"""MiT against an independent implementation, its published sizes, and its parts by hand."""

import math

import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn
from transformers import SegformerConfig, SegformerModel

from copt_d2.checkpoint import convert_mit
from copt_d2.errors import InputError
from copt_d2.modeling import MixTransformer
from copt_d2.modeling.backbone.mix_transformer import drop_path

# norms outside of blocks' own, as transformers 5 and 4 name them
OUTER_NORMS = ("patch_embeddings", "sequence_reduction", "attention.self.layer_norm")


@pytest.mark.parametrize(
    ("variant", "parameters", "entries"),
    [
        ("b0", 3_319_392, 176),
        ("b1", 13_151_424, 176),
        ("b2", 24_196_288, 332),
        ("b3", 44_072_128, 572),
        ("b4", 60_842_688, 832),
        ("b5", 81_443_008, 1052),
    ],
)
def test_sizes_of_the_paper(variant, parameters, entries, monkeypatch):
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda *args, **options: None)  # its time
    network = MixTransformer(variant)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


@pytest.mark.parity
def test_values_and_gradients_equal_transformers():
    """Another implementation, with the norms' epsilons of the authors' code, in float64."""
    torch.manual_seed(0)
    # the sizes of B0 are its defaults
    other = SegformerModel(SegformerConfig(drop_path_rate=0.0)).double().train()
    for name, module in other.named_modules():
        if isinstance(module, nn.LayerNorm):
            outer = any(part in name for part in OUTER_NORMS)
            module.eps = 1e-5 if outer else 1e-6
    for parameter in other.parameters():
        nn.init.normal_(parameter, 0.02, 0.1)
    ours = MixTransformer("b0", drop_path_rate=0.0).double().train()
    ours.load_state_dict(convert_mit(other.state_dict()))
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    found = ours(images)
    expected = other(images, output_hidden_states=True).hidden_states
    assert list(found) == ["res2", "res3", "res4", "res5"]
    for stage, maps in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(stage, maps, rtol=1e-9, atol=1e-11)
    for maps in (found.values(), expected):
        sum((stage * stage.detach().cos()).sum() for stage in maps).backward()
    gradients = convert_mit({name: p.grad for name, p in other.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-7, atol=1e-9)


def test_any_size_is_rounded_up():
    network = MixTransformer("b0").eval()
    sizes = [tuple(maps.shape[-2:]) for maps in network(torch.randn(1, 3, 65, 100)).values()]
    assert sizes == [(17, 25), (9, 13), (5, 7), (3, 4)]
    shapes = network.output_shape()
    assert [(s.channels, s.stride) for s in shapes.values()] == [
        *((32, 4), (64, 8), (160, 16), (256, 32))
    ]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (9, 40), (100, 20)])
def test_images_smaller_than_a_cell_of_the_keys(height, width):
    network = MixTransformer("b0").eval()
    with torch.no_grad():
        maps = network(torch.randn(1, 3, height, width))
    assert maps["res2"].shape[-2:] == (math.ceil(height / 4), math.ceil(width / 4))
    assert maps["res5"].shape[-2:] == (math.ceil(height / 32), math.ceil(width / 32))
    assert all(stage.isfinite().all() for stage in maps.values())


def test_drop_path_rates_grow_over_all_blocks():
    network = MixTransformer("b1", drop_path_rate=0.7)
    blocks = [block for n in range(1, 5) for block in getattr(network, f"block{n}")]
    rates = [block.drop_path.drop_prob for block in blocks]
    assert rates == pytest.approx([0.1 * n for n in range(8)])


def test_drop_path_keeps_or_drops_whole_samples():
    torch.manual_seed(0)
    x = torch.rand(4000, 3, 2) + 1
    dropped = drop_path(x, 0.3, training=True)
    kept = (dropped != 0).flatten(1).any(dim=1)
    assert torch.equal(dropped[kept], x[kept] / (1 - 0.3))
    assert kept.float().mean() == pytest.approx(0.7, abs=0.03)
    assert not dropped[~kept].any()
    assert drop_path(x, 0.3, training=False) is x
    assert drop_path(x, 0.0, training=True) is x


def test_the_branches_of_a_block_are_dropped_on_their_own():
    network = MixTransformer("b0", drop_path_rate=0.5).train()
    block = network.block4[1]
    tokens = torch.randn(400, 6, 256)
    torch.manual_seed(1)
    with torch.no_grad():
        attention = block.attn(block.norm1(tokens), (2, 3)) * 2
        changed = block(tokens, (2, 3))
    unchanged = (changed == tokens).flatten(1).all(dim=1).float().mean()
    only_attention = torch.isclose(changed, tokens + attention, atol=1e-5).flatten(1).all(dim=1)
    assert unchanged == pytest.approx(0.25, abs=0.08)
    assert only_attention.float().mean() == pytest.approx(0.25, abs=0.08)


def test_initialisation():
    torch.manual_seed(0)
    network = MixTransformer("b1")
    linear = network.block3[0].mlp.fc1
    assert linear.weight.detach().std() == pytest.approx(0.02, rel=0.02)
    assert not linear.bias.any()
    for conv in (network.patch_embed2.proj, network.block3[0].mlp.dwconv.dwconv):
        fan_out = 9 * conv.out_channels / conv.groups
        assert conv.weight.detach().std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.03)
        assert not conv.bias.any()
    assert network.block1[0].norm1.eps == network.norm1.eps == 1e-6
    assert network.patch_embed1.norm.eps == network.block1[0].attn.norm.eps == 1e-5


@pytest.fixture
def mit_cfg(tiny_cfg):
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.VARIANT = "b0"
    return tiny_cfg


def test_weights_from_a_file(mit_cfg, tmp_path):
    stored = MixTransformer("b0").state_dict()
    file = tmp_path / "mit_b0.pth"
    torch.save({"state_dict": {**stored, "head.weight": torch.ones(2), "head.bias": stored}}, file)
    mit_cfg.MODEL.MIT.WEIGHTS = str(file)
    loaded = build_backbone(mit_cfg).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())


def test_wrong_weights_and_variants_are_named(mit_cfg, tmp_path):
    stored = MixTransformer("b0").state_dict()
    file = tmp_path / "weights.pth"
    mit_cfg.MODEL.MIT.WEIGHTS = str(file)
    with pytest.raises(InputError, match=r"no such file .*weights.pth: put .* mit_b0.pth of https"):
        build_backbone(mit_cfg)
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"MODEL.MIT.WEIGHTS .*weights.pth"):
        build_backbone(mit_cfg)
    bias = stored.pop("norm3.bias")
    torch.save(stored, file)
    with pytest.raises(InputError, match=r"norm3.bias is missing there, and 0 more"):
        build_backbone(mit_cfg)
    torch.save({**stored, "norm3.bias": bias[:3], "extra": bias}, file)
    with pytest.raises(InputError, match=r"extra is unknown here, and 1 more: .*copt convert"):
        build_backbone(mit_cfg)
    mit_cfg.MODEL.MIT.VARIANT = "b9"
    with pytest.raises(InputError, match=r"MODEL.MIT.VARIANT is 'b9'; there are b0, b1"):
        build_backbone(mit_cfg)
