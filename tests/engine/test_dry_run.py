"""Sizes that the network cannot take are found before any work, and nothing else changes."""

import copy
import random

import pytest
import torch
from PIL import Image

from copt_d2.engine import dry_run
from copt_d2.engine.dry_run import check_sizes
from copt_d2.errors import InputError
from copt_d2.modeling import TimmBackbone, build_segmentation_network


@pytest.fixture
def sizes(monkeypatch):
    """Sets the (height, width) of the test images."""

    def use(*found):
        monkeypatch.setattr(
            dry_run.DatasetCatalog, "get", lambda name: [{"file_name": s} for s in found]
        )
        monkeypatch.setattr(dry_run, "image_size", lambda size: size)

    return use


@pytest.fixture
def cfg(tiny_cfg, sizes):
    tiny_cfg.DATASETS.TEST = ("val",)
    sizes((64, 96))
    return tiny_cfg


@pytest.fixture
def refuses(monkeypatch):
    """Makes encoders raise for sizes that a function does not accept."""

    def use(accepts, error=ValueError):
        forward = TimmBackbone.forward

        def checked(self, images):
            if not accepts(*images.shape[-2:]):
                raise error(f"no {tuple(images.shape)}")
            return forward(self, images)

        monkeypatch.setattr(TimmBackbone, "forward", checked)

    return use


@pytest.mark.parametrize("hrda", [True, False])
def test_nothing_changes(cfg, hrda):
    cfg.MODEL.HRDA.ENABLED, cfg.MODEL.HRDA.CROP_SIZE = hrda, 32
    student = build_segmentation_network(cfg)
    before = copy.deepcopy(student.state_dict())
    states = random.getstate(), torch.get_rng_state()
    student.sem_seg_head.eval()
    modes = [module.training for module in student.modules()]
    check_sizes(cfg, student, training=True)
    assert (random.getstate(), torch.get_rng_state().tolist()) == (states[0], states[1].tolist())
    assert all(torch.equal(v, before[name]) for name, v in student.state_dict().items())
    assert [module.training for module in student.modules()] == modes


@pytest.mark.parametrize(
    ("crop", "batch", "hrda", "single"),
    [
        ([32, 32], 1, False, True),  # stride 32 leaves one cell
        ([32, 32], 2, False, False),
        ([32, 64], 1, False, False),
        ([64, 64], 1, True, True),  # the context has half the size
        ([64, 128], 1, True, False),
    ],
)
def test_a_batch_norm_of_a_single_value(cfg, crop, batch, hrda, single):
    cfg.INPUT.CROP.SIZE, cfg.SOLVER.IMS_PER_BATCH = crop, batch
    cfg.MODEL.HRDA.ENABLED, cfg.MODEL.HRDA.CROP_SIZE = hrda, 64
    student = build_segmentation_network(cfg)
    if not single:
        check_sizes(cfg, student, training=True)
        return
    with pytest.raises(InputError) as error:
        check_sizes(cfg, student, training=True)
    assert str(error.value).startswith(
        f"INPUT.CROP.SIZE {tuple(crop)} and SOLVER.IMS_PER_BATCH 1 leave a batch norm"
    )
    cfg.MODEL.TIMM.FREEZE_NORM = True
    check_sizes(cfg, build_segmentation_network(cfg), training=True)


def test_images_a_process(cfg, monkeypatch):
    cfg.INPUT.CROP.SIZE = [32, 32]
    monkeypatch.setattr(dry_run.comm, "get_world_size", lambda: 2)
    with pytest.raises(InputError, match=r"SOLVER.IMS_PER_BATCH 2 leave a batch norm"):
        check_sizes(cfg, build_segmentation_network(cfg), training=True)


def test_a_crop_that_the_encoder_does_not_take(cfg, refuses):
    student = build_segmentation_network(cfg)
    refuses(lambda h, w: (h, w) != (64, 96))
    line = (
        r"^MODEL.TIMM.NAME 'test_efficientnet' cannot be trained with INPUT.CROP.SIZE \(64, 96\) "
        r"and 2 images a process: no \(2, 3, 64, 96\)$"
    )
    with pytest.raises(InputError, match=line):
        check_sizes(cfg, student, training=True)


@pytest.mark.parametrize("training", [True, False])
def test_a_test_size_that_the_encoder_does_not_take(cfg, refuses, sizes, training):
    student = build_segmentation_network(cfg)
    refuses(lambda h, w: h != 61)
    sizes((64, 96), (70, 96), (61, 97), (66, 90))
    with pytest.raises(
        InputError, match=r"cannot predict 61x97 pixels \(height x width\) of val: n"
    ):
        check_sizes(cfg, student, training=training)
    cfg.TEST.WINDOW = cfg.TEST.STRIDE = (60, 60)
    check_sizes(cfg, student, training=training)


@pytest.mark.parametrize(
    ("window", "resize", "expected"),
    [
        # smallest and largest height, then width
        ((), (), [(5, 9), (70, 20), (30, 8), (40, 99)]),
        ((32, 25), (), [(5, 9), (32, 20), (30, 8), (32, 25)]),
        # into a box of 10x10: 6x10, 10x3, 10x3, 4x10 and (of both others) 10x7
        ((), (10, 10), [(4, 10), (10, 3), (10, 7), (6, 10)]),
    ],
)
def test_extreme_sizes_of_a_data_set(cfg, sizes, window, resize, expected):
    sizes((5, 9), (70, 20), (30, 8), (40, 99), (31, 21), (32, 22))
    cfg.TEST.WINDOW, cfg.INPUT.TEST_RESIZE = window, resize
    found = [size for _, size in dry_run._test_sizes(cfg)]
    assert sorted(found) == sorted(expected)


def test_damaged_images_are_told_when_they_are_read(cfg, sizes, monkeypatch):
    def damaged(file):
        raise InputError("damaged")

    monkeypatch.setattr(dry_run, "image_size", damaged)
    check_sizes(cfg, build_segmentation_network(cfg), training=True)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_looks_at_values_runs_really(cfg, monkeypatch, training):
    student = build_segmentation_network(cfg)
    forward, seen = TimmBackbone.forward, []

    def looking(self, images):
        seen.append(images.is_meta)
        assert images.sum().item() == 0
        return forward(self, images)

    monkeypatch.setattr(TimmBackbone, "forward", looking)
    before = copy.deepcopy(student.state_dict())
    check_sizes(cfg, student, training=training)
    assert seen == [True, False] * (1 + training)
    assert all(torch.equal(v, before[name]) for name, v in student.state_dict().items())


def test_memory_that_does_not_suffice_is_not_a_matter_of_size(cfg, refuses):
    student = build_segmentation_network(cfg)
    refuses(lambda h, w: False, torch.OutOfMemoryError)
    with pytest.raises(torch.OutOfMemoryError):
        check_sizes(cfg, student, training=True)


def test_own_lines_of_an_encoder_stay(cfg, refuses):
    student = build_segmentation_network(cfg)
    refuses(lambda h, w: False, lambda text: InputError("takes 224x224 alone"))
    with pytest.raises(InputError, match=r"^takes 224x224 alone$"):
        check_sizes(cfg, student, training=True)


def test_one_process_looks_for_all(cfg, refuses, monkeypatch):
    refuses(lambda h, w: False)
    monkeypatch.setattr(dry_run.comm, "is_main_process", lambda: False)
    check_sizes(cfg, None, training=True)


def test_sizes_are_read_from_files(tiny_cfg, tmp_path, monkeypatch):
    files = []
    for index, size in enumerate(((20, 9), (7, 30), (50, 50))):
        files.append(str(tmp_path / f"{index}.png"))
        Image.new("RGB", size).save(files[-1])
    monkeypatch.setattr(
        dry_run.DatasetCatalog, "get", lambda name: [{"file_name": f} for f in files]
    )
    tiny_cfg.DATASETS.TEST = ("val",)
    assert {size for _, size in dry_run._test_sizes(tiny_cfg)} == {(9, 20), (30, 7), (50, 50)}
