import torch
from detectron2.modeling import build_model

from copt_d2.checkpoint import student_state
from copt_d2.modeling import build_segmentation_network


def test_the_student_of_a_model(tiny_cfg):
    state = build_model(tiny_cfg).state_dict()
    network = build_segmentation_network(tiny_cfg)
    found = student_state(state)
    assert list(found) == list(network.state_dict())
    network.load_state_dict(found)  # strict
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[f"student.{key}"])


def test_only_a_leading_prefix_counts():
    state = {
        "student.a.student.b": torch.tensor(1),
        "teacher.network.a.student.b": torch.tensor(2),
        "feature_losses.copt.memory_bank": torch.tensor(3),
    }
    assert student_state(state) == {"a.student.b": torch.tensor(1)}


def test_a_bare_network_is_taken_as_it_is():
    state = {"backbone.weight": torch.tensor(1), "sem_seg_head.weight": torch.tensor(2)}
    found = student_state(state)
    assert found == state
    assert found is not state
