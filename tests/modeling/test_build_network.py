"""What cannot be built of a config is said in one line."""

import pytest

from copt_d2.errors import InputError
from copt_d2.modeling import build_segmentation_network


def said(cfg, *pairs):
    cfg.merge_from_list(list(pairs))
    with pytest.raises(InputError) as raised:
        build_segmentation_network(cfg)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_feature_map_that_the_encoder_lacks(tiny_cfg):
    assert said(tiny_cfg, "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res2", "res6"]) == (
        "MODEL.SEM_SEG_HEAD.IN_FEATURES: build_timm_backbone has no 'res6'; "
        "there are res2, res3, res4, res5"
    )


def test_an_encoder_of_detectron2_that_asserts(tiny_cfg):
    keys = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", 18]
    assert said(tiny_cfg, *keys) == (
        "MODEL.BACKBONE.NAME 'build_resnet_backbone' cannot be built: "
        "Must set MODEL.RESNETS.RES2_OUT_CHANNELS = 64 for R18/R34"
    )


def test_a_head_of_detectron2_whose_groups_do_not_fit(tiny_cfg):
    text = said(tiny_cfg, "MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead")  # 8 channels, 32 groups
    assert text.startswith("MODEL.SEM_SEG_HEAD.NAME 'SemSegFPNHead' cannot be built: ")
    assert "num_channels" in text
