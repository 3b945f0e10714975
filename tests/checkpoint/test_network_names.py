"""Which keys of which file are the student's and the teacher's."""

import pytest
from detectron2.modeling import build_model

from copt_d2.checkpoint import network_names
from copt_d2.modeling import build_segmentation_network


@pytest.mark.parametrize("around", ["", "module."])
@pytest.mark.parametrize(("part", "prefix"), [("student", ""), ("teacher", ".network")])
def test_both_networks_of_a_model(tiny_cfg, part, prefix, around):
    keys = [f"{around}{key}" for key in build_model(tiny_cfg).state_dict()]
    wanted = build_segmentation_network(tiny_cfg).state_dict()
    found = network_names(keys, part)
    assert list(found) == list(wanted)
    assert all(key == f"{around}{part}{prefix}.{name}" for name, key in found.items())


def test_only_a_leading_prefix_counts():
    keys = ["student.a.student.b", "teacher.network.a.student.b", "feature_losses.copt.memory_bank"]
    assert network_names(keys) == {"a.student.b": "student.a.student.b"}
    assert network_names(keys, "teacher") == {"a.student.b": "teacher.network.a.student.b"}


@pytest.mark.parametrize("around", ["", "module."])
def test_a_bare_network_is_taken_as_it_is(around):
    names = ["backbone.weight", "sem_seg_head.weight"]
    found = network_names([around + name for name in names])
    assert found == {name: around + name for name in names}


@pytest.mark.parametrize(
    "keys", [["student.a"], ["backbone.weight"], [], ["decode_head.conv_seg.weight", "backbone.x"]]
)
def test_without_a_teacher(keys):
    with pytest.raises(KeyError, match=r"no key begins with '(teacher\.network|ema_model)\.'"):
        network_names(keys, "teacher")


def test_there_are_two_parts():
    with pytest.raises(ValueError, match="there are student, teacher"):
        network_names(["student.a"], "ema_model")
