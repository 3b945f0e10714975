"""An arg-max over what is no number never counts."""

import pytest
import torch

from copt_d2.errors import InputError
from copt_d2.evaluation.arg_max import predicted_classes

NAN, INF = float("nan"), float("inf")


def logits():
    """(3, 2, 2), with ties: the first class of the largest wins."""
    return torch.tensor(
        [[[1.0, 0.0], [5.0, 2.0]], [[1.0, 3.0], [4.0, 2.0]], [[0.0, 3.0], [6.0, 2.0]]]
    )


def test_the_first_of_the_largest():
    assert predicted_classes(logits(), "a.png").tolist() == [[0, 1], [2, 0]]
    assert predicted_classes(logits().bfloat16(), "a.png").tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize(
    ("value", "classes"), [(NAN, [2]), (NAN, [0, 1, 2]), (INF, [1]), (-INF, [0, 1, 2])]
)
def test_broken_logits_name_the_image(value, classes):
    broken = logits()
    broken[classes, 0, 1] = value
    with pytest.raises(
        InputError, match=r"^the logits of dir/a\.png are NaN or infinite at 1 of 4"
    ):
        predicted_classes(broken, "dir/a.png")


def test_a_class_that_is_ruled_out_is_no_damage():
    ruled_out = logits()
    ruled_out[2] = -INF
    assert predicted_classes(ruled_out, "a.png").tolist() == [[0, 1], [0, 0]]
