"""What enters the digest of a network's tensors, and what does not."""

import hashlib

import torch
from torch import nn

from copt_d2.checkpoint import tensors_digest


def test_the_definition():
    state = {"b": torch.tensor([1.0, -2.0]), "a": torch.tensor(3)}
    text = b"a\0torch.int64\0()\0" + (3).to_bytes(8, "little")
    text += b"b\0torch.float32\0(2,)\0" + bytes.fromhex("0000803f000000c0")
    assert tensors_digest(state) == f"sha256-of-tensors:{hashlib.sha256(text).hexdigest()}"


def test_layout_and_order_do_not_count():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = tensors_digest(network.state_dict())
    network.to(memory_format=torch.channels_last)
    assert not network[0].weight.is_contiguous()
    assert tensors_digest(dict(reversed(network.state_dict().items()))) == before
    assert tensors_digest({k: v.expand(v.shape) for k, v in network.state_dict().items()}) == before


def test_every_value_name_type_and_shape_counts():
    state = {"weight": torch.arange(6.0).reshape(2, 3)}
    variants = [
        *(state, {"bias": state["weight"]}, {"weight": state["weight"].reshape(3, 2)}),
        *({"weight": state["weight"].half()}, {"weight": state["weight"].bfloat16()}),
        *({"weight": state["weight"] + torch.eye(2, 3) * 1e-6}, {}, {"weight": torch.zeros(0, 3)}),
    ]
    assert len({tensors_digest(variant) for variant in variants}) == len(variants)
