import pytest
import torch
from detectron2.modeling import Backbone, build_model
from torch import nn

from copt_d2.solver import build_optimizer, parameter_groups


class Network(nn.Module):
    """One parameter pair for each rule, named after what it tests."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
        self.norm_proj = nn.Linear(4, 4)  # no norm, but named like one
        self.layer_norm = nn.LayerNorm(4)
        self.sem_seg_head = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.frozen_norm = nn.BatchNorm2d(4).requires_grad_(False)


def names_by_group(cfg, model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(cfg, model)
    return {group["name"]: {names[id(p)] for p in group["params"]} for group in groups}


def test_the_first_rule_that_matches_a_name(tiny_cfg):
    assert names_by_group(tiny_cfg, Network()) == {
        "head": {"sem_seg_head.0.weight", "sem_seg_head.1.weight", "sem_seg_head.1.bias"},
        "norm": {
            *("norm_proj.weight", "norm_proj.bias", "layer_norm.weight", "layer_norm.bias"),
        },
        # norms whose name does not say so decay, as in the reference
        "rest": {f"encoder.{n}.{kind}" for n in range(3) for kind in ("weight", "bias")},
    }


class Encoder(Backbone):
    """Names of timm's: XCiT and CaiT have talking heads, ConvNeXt and Hiera a head with a norm."""

    def __init__(self):
        super().__init__()
        self.talking_head1 = nn.Linear(2, 2, bias=False)
        self.head_norm = nn.LayerNorm(2, bias=False)
        self.attention = nn.ModuleDict({"heads": nn.Linear(2, 2, bias=False)})

    def forward(self, images):
        raise NotImplementedError


def test_heads_inside_an_encoder_are_no_heads(tiny_cfg):
    model = nn.ModuleDict({"backbone": Encoder(), "attention_head": nn.Linear(2, 2, bias=False)})
    model["head_of_all"] = nn.Sequential(Encoder())  # nor those of an encoder inside a head
    assert names_by_group(tiny_cfg, model) == {
        "head": {"attention_head.weight"},
        "norm": {f"{place}.head_norm.weight" for place in ("backbone", "head_of_all.0")},
        "rest": {
            f"{place}.{name}.weight"
            for place in ("backbone", "head_of_all.0")
            for name in ("talking_head1", "attention.heads")
        },
    }


def test_rates_and_decays_of_the_paper(tiny_cfg):
    groups = {group["name"]: group for group in parameter_groups(tiny_cfg, Network())}
    assert {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()} == {
        "head": (pytest.approx(6e-4), 0.01),
        "norm": (6e-5, 0.0),
        "rest": (6e-5, 0.01),
    }


def test_empty_groups_are_left_out(tiny_cfg):
    model = nn.ModuleDict({"sem_seg_head": nn.Linear(2, 2)})
    assert [group["name"] for group in parameter_groups(tiny_cfg, model)] == ["head"]


def test_every_trained_parameter_of_the_model_stands_in_one_group(tiny_cfg):
    model = build_model(tiny_cfg)
    optimizer = build_optimizer(tiny_cfg, model)
    optimized = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(optimized) == len(set(optimized))
    assert set(optimized) == {id(p) for p in model.student.parameters()}  # nothing else is trained
    groups = names_by_group(tiny_cfg, model)
    assert all(name.startswith("student.sem_seg_head.") for name in groups["head"])
    assert "student.backbone.encoder.bn1.weight" in groups["rest"]  # timm's name of a norm
    assert "student.backbone.encoder.conv_stem.weight" in groups["rest"]


def test_adamw_of_the_paper(tiny_cfg):
    optimizer = build_optimizer(tiny_cfg, Network())
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    assert optimizer.defaults["eps"] == 1e-8
    assert not optimizer.defaults["amsgrad"]


@pytest.mark.parity
def test_two_steps_by_hand(tiny_cfg):
    tiny_cfg.SOLVER.BASE_LR = 0.1
    model = nn.Linear(1, 1, bias=False).double()
    optimizer = build_optimizer(tiny_cfg, model)
    value, first, second = model.weight.item(), 0.0, 0.0
    for step, gradient in enumerate((0.3, -0.7), start=1):
        model.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        value *= 1 - 0.1 * 0.01  # decay is decoupled from the gradient
        corrected = first / (1 - 0.9**step), second / (1 - 0.999**step)
        value -= 0.1 * corrected[0] / (corrected[1] ** 0.5 + 1e-8)
    assert model.weight.item() == pytest.approx(value, rel=1e-12)
