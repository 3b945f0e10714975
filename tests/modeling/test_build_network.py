"""What cannot be built of a config is said in one line."""

import pytest

from copt_d2.errors import InputError
from copt_d2.modeling import build_segmentation_network
from copt_d2.modeling.losses import build_feature_losses


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


def test_maps_that_are_not_in_order_or_too_coarse(tiny_cfg):
    key = "MODEL.SEM_SEG_HEAD.IN_FEATURES"
    assert "the finest map must come first" in said(tiny_cfg, key, ["res5", "res2"])
    text = said(tiny_cfg, key, ["res3", "res4"], "MODEL.HRDA.ENABLED", True)
    assert text.endswith("with MODEL.HRDA.ENABLED the first map must have stride 4, not 8")
    keys = ["MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead", "MODEL.SEM_SEG_HEAD.NORM", "BN"]
    text = said(
        tiny_cfg, *keys, "MODEL.HRDA.ENABLED", False, "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 16
    )
    assert text.startswith("MODEL.SEM_SEG_HEAD.COMMON_STRIDE is 16; the first of")


@pytest.mark.parametrize("loss", ["CoPTLoss", "FeatureDistanceLoss"])
def test_a_feature_loss_whose_map_the_encoder_lacks(tiny_cfg, loss):
    tiny_cfg.merge_from_list(
        [
            *("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", 18),
            *(
                "MODEL.RESNETS.RES2_OUT_CHANNELS",
                64,
                "MODEL.RESNETS.OUT_FEATURES",
                ["res2", "res3"],
            ),
            *(
                "MODEL.SEM_SEG_HEAD.IN_FEATURES",
                ["res2", "res3"],
                "MODEL.UDA.FEATURE_LOSSES",
                [loss],
            ),
        ]
    )
    encoder = build_segmentation_network(tiny_cfg).backbone
    with pytest.raises(InputError) as raised:
        build_feature_losses(tiny_cfg, encoder=encoder)
    assert str(raised.value).startswith(
        f"{loss} looks at the feature map 'res5', but the encoder has res2, res3: remove {loss}"
    )
