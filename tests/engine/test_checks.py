"""What does not fit together is said before any data set is listed."""

import pytest
from detectron2.config import get_cfg

from copt_d2 import add_copt_config
from copt_d2.engine import check_config
from copt_d2.errors import InputError


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"DATALOADER.RARE_CLASS.MIN_PIXELS": 1000, "INPUT.CROP.SIZE": [20, 25]},
            "DATALOADER.RARE_CLASS.MIN_PIXELS 1000 times MIN_CROP_RATIO 0.5 pixels of a class "
            "never fit into a crop of INPUT.CROP.SIZE (20, 25): lower one of them",
        ),
        ({"SEED": -1}, "SEED is -1; it must be 0 or more (tools/train_net.py draws one for -1)"),
        ({"TEST.CLASSES": [18, 19]}, "TEST.CLASSES [19] are no train ids of MODEL.SEM_SEG_HEAD"),
        ({"TEST.WINDOW": [8, 8], "TEST.STRIDE": [9, 8]}, "TEST.STRIDE (9, 8) is larger than"),
        ({"SOLVER.GAMMA": 0.5}, "SOLVER.GAMMA is 0.5, but it has no effect here"),
        ({"MODEL.PIXEL_STD": [1.0, 0.0, 1.0]}, "MODEL.PIXEL_STD is [1.0, 0.0, 1.0]; it must be a"),
    ],
)
def test_what_does_not_fit(keys, said):
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.DATASETS.TRAIN = ("unheard_of",)
    cfg.merge_from_list([part for pair in keys.items() for part in pair])
    with pytest.raises(InputError) as raised:
        check_config(cfg)
    assert str(raised.value).startswith(said)


def test_a_crop_may_hold_just_more_than_the_drawn_class_must():
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.DATASETS.TRAIN = ("unheard_of",)
    cfg.DATALOADER.RARE_CLASS.MIN_PIXELS = 998  # 499 of 500 pixels
    cfg.INPUT.CROP.SIZE = [20, 25]
    with pytest.raises(InputError, match="'unheard_of' is not registered"):
        check_config(cfg)
