import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from copt_d2 import add_copt_config
from copt_d2.data import register_dataset
from copt_d2.data.label_spaces import CAMVID
from copt_d2.data.mappers import TargetMapper
from copt_d2.engine.adaptation import (
    LONG,
    AdaptationWatch,
    check_trusted_pixels,
    tell_untrusted_images,
    trusts_a_pixel,
)
from copt_d2.errors import InputError
from copt_d2.modeling.preprocessing import ImagePreprocessor
from copt_d2.modeling.pseudo_labels import make_pseudo_labels


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.INPUT.CROP.SIZE = [64, 96]
    cfg.MODEL.UDA.PHASES = ("source", "mixed")
    return cfg


@pytest.fixture
def target(cfg, tmp_path):
    """A target data set of images of (height, width): ``target((64, 96), ...)``; its files."""

    def make(*sizes):
        files = []
        for number, size in enumerate(sizes):
            files.append({"file_name": str(tmp_path / f"{number}.png"), "image_id": str(number)})
            Image.fromarray(np.zeros((*size, 3), np.uint8)).save(files[-1]["file_name"])
        register_dataset("adaptation_target", lambda: files, CAMVID)
        cfg.DATASETS.TARGET = ("adaptation_target",)
        return files

    yield make
    for catalog in (DatasetCatalog, MetadataCatalog):
        if "adaptation_target" in catalog.list():
            catalog.remove("adaptation_target")


def set_borders(cfg, margins, rows):
    cfg.INPUT.VALID_MARGINS = margins
    cfg.MODEL.UDA.IGNORE_TOP, cfg.MODEL.UDA.IGNORE_BOTTOM = rows


def weights_of_crops(cfg, file, rows, crops=40):
    """The largest weight of a confident pseudo-label in random crops of an image."""
    mapper, rng = TargetMapper(cfg), np.random.default_rng(0)
    pad = ImagePreprocessor([0.0] * 3, [1.0] * 3, cfg.INPUT.CROP.SIZE)
    valid = torch.cat([pad.batch([mapper({"file_name": file}, rng)]).valid for _ in range(crops)])
    logits = torch.stack([torch.ones(valid.shape), -torch.ones(valid.shape)], dim=1)
    labels = make_pseudo_labels(logits, 0.5, valid=valid, ignore_top=rows[0], ignore_bottom=rows[1])
    return labels.weights.max().item()


@pytest.mark.parametrize(
    ("size", "margins", "rows", "resize", "scale", "trusted"),
    [
        ((64, 96), (0, 0, 0, 0), (0, 0), (), (1, 1), True),
        ((64, 96), (30, 240, 30, 30), (0, 0), (), (1, 1), False),
        ((64, 96), (0, 0, 48, 48), (0, 0), (), (1, 1), False),
        ((64, 96), (32, 31, 0, 0), (0, 0), (), (1, 1), True),
        ((64, 96), (0, 0, 0, 0), (0, 120), (), (1, 1), False),
        ((64, 96), (0, 0, 0, 0), (30, 33), (), (1, 1), True),
        ((64, 96), (0, 0, 0, 0), (30, 34), (), (1, 1), False),
        # each leaves some rows, together they leave none
        ((64, 96), (40, 0, 0, 0), (0, 30), (), (1, 1), False),
        # of a larger image the ignored rows of a crop show other rows
        ((128, 96), (40, 0, 0, 0), (0, 30), (), (1, 1), True),
        # a smaller image is padded at the bottom
        ((40, 96), (0, 0, 0, 0), (0, 24), (), (1, 1), True),
        ((20, 96), (0, 0, 0, 0), (20, 0), (), (1, 1), False),
        # margins are in stored pixels, rows in those of the crop
        ((640, 960), (300, 300, 0, 0), (0, 0), (96, 64), (1, 1), True),
        ((640, 960), (300, 300, 0, 0), (0, 40), (96, 64), (1, 1), False),
        ((32, 48), (0, 0, 0, 0), (32, 0), (), (1, 1), False),
        ((32, 48), (0, 0, 0, 0), (32, 0), (), (1, 2), True),
    ],
)
def test_a_trusted_pixel_is_found_where_crops_have_one(
    cfg, target, size, margins, rows, resize, scale, trusted
):
    set_borders(cfg, margins, rows)
    cfg.INPUT.TARGET_RESIZE, cfg.INPUT.SCALE_RANGE = resize, scale
    assert trusts_a_pixel(cfg, size, margins, rows) == trusted
    (file,) = target(size)
    assert (weights_of_crops(cfg, file["file_name"], rows) > 0) == trusted


@pytest.mark.parametrize(
    ("margins", "rows", "told"),
    [
        ((30, 240, 30, 30), (0, 0), r"^INPUT.VALID_MARGINS \(30, 240, 30, 30\): with .*0\.png of "),
        ((0, 0, 0, 0), (0, 120), r"^MODEL.UDA.IGNORE_TOP 0, IGNORE_BOTTOM 120: with .* of 96x64 "),
        ((40, 0, 0, 0), (0, 30), r"^INPUT.VALID_MARGINS \(40, 0, 0, 0\), MODEL.UDA.IGNORE_TOP 0, "),
    ],
)
def test_borders_that_leave_nothing_of_a_target_are_refused(cfg, target, margins, rows, told):
    files = target((64, 96), (50, 70))
    set_borders(cfg, margins, rows)
    told += r".*, and crops of 96x64, they leave no trusted pixel of any image of own; lower them$"
    with pytest.raises(InputError, match=told):
        check_trusted_pixels(cfg, "own", files)
    for phases, domains in (("source",), ("target",)), (("source", "masked"), ("source",)):
        cfg.MODEL.UDA.PHASES, cfg.MODEL.UDA.MASK_DOMAINS = phases, domains
        check_trusted_pixels(cfg, "own", files)  # nothing is learned from the target anyway


def test_images_that_are_too_small_among_others_are_told_once(cfg, target, caplog):
    files = target((64, 96), (20, 30), (64, 96), (10, 30))
    set_borders(cfg, (30, 0, 0, 0), (0, 0))
    check_trusted_pixels(cfg, "own", files)
    tell_untrusted_images(cfg)
    (line,) = caplog.messages
    assert line.startswith(f"INPUT.VALID_MARGINS (30, 0, 0, 0): with {files[1]['file_name']} of 30")
    assert "no trusted pixel of this and 1 more of 4 images of adaptation_target" in line


def test_all_images_count_before_a_target_is_refused(cfg, target, monkeypatch):
    monkeypatch.setattr("copt_d2.engine.adaptation.LOOKED_AT", 2)  # the first and the last
    files = target((20, 30), (64, 96), (20, 30))
    set_borders(cfg, (30, 0, 0, 0), (0, 0))
    check_trusted_pixels(cfg, "own", files)


def test_without_borders_no_size_is_read(cfg):
    check_trusted_pixels(cfg, "own", [{"file_name": "nowhere.png"}])


def watch(cfg, weights, start=0, last=None):
    """Runs the hook over steps with these weights."""
    hook = AdaptationWatch(cfg)
    diagnostics = {}
    hook.trainer = SimpleNamespace(
        model=SimpleNamespace(diagnostics=diagnostics),
        **{"start_iter": start, "max_iter": last or start + len(weights)},
    )
    hook.before_train()
    for iteration, weight in enumerate(weights, start):
        if weight is not None:
            diagnostics["pseudo_label_weight"] = torch.tensor(weight)
        hook.trainer.iter = iteration
        hook.after_step()


@pytest.mark.parametrize(
    ("weights", "start", "last", "told"),
    [
        ([0.0] * 20, 0, None, 10),  # half of the training
        ([0.0] * 9 + [0.2] + [0.0] * 8, 0, 18, None),
        ([0.0, 0.3, 0.0, 0.0, 0.0] + [0.0] * 15, 0, None, 10),  # between two log periods
        ([0.0] * 9, 0, 100, None),
        ([0.0] * 12, 90, 110, None),  # a resumed run counts anew
        ([0.0] * LONG, 0, 10**6, LONG),
        ([0.0] * 3, 0, None, 3),  # the last step is looked at
        ([None] * 20, 0, None, None),  # nothing is learned from a target
        ([0.5] * 20, 0, None, None),
    ],
)
def test_a_target_without_a_confident_pixel_is_told_once(cfg, caplog, weights, start, last, told):
    cfg.SOLVER.LOG_PERIOD = 5
    cfg.MODEL.UDA.PSEUDO_THRESHOLD = 0.97
    with caplog.at_level(logging.WARNING):
        watch(cfg, weights, start, last)
    lines = [
        f"for {told} iterations no pixel of a target image has reached MODEL.UDA.PSEUDO_THRESHOLD "
        "0.97: nothing is learned from the target"
    ]
    found = [line.partition("; lower it")[0] for line in caplog.messages]
    assert found == ([] if told is None else lines)


def test_the_device_is_waited_for_at_log_periods_alone(cfg, monkeypatch):
    waits = []
    original = torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: waits.append(0) or original(self))
    cfg.SOLVER.LOG_PERIOD = 8
    watch(cfg, [0.5] * 20)
    assert len(waits) == 3  # after steps 8, 16 and 20
