import math

import numpy as np
import pytest
import torch

from copt_d2.data.rare_class import (
    RareClassSampler,
    build_rare_class_sampler,
    class_probabilities,
)
from copt_d2.errors import InputError


def test_two_rare_classes_differ_by_e():
    p = class_probabilities([97, 1, 2], 0.01)
    assert p[1] / p[2] == pytest.approx(math.e)
    assert p.sum() == pytest.approx(1)


def test_frequent_class_is_hardly_drawn():
    # f = 0.36 against a class of f -> 0: relative weight exp(-36)
    p = class_probabilities([360_000, 640_000 - 1, 1], 0.01)
    assert p[0] / p[2] == pytest.approx(math.exp(-36 + 1e-4), rel=1e-6)


def test_against_the_formula_in_any_order():
    counts = [500, 20, 3, 77, 400]
    weights = [math.exp((1 - c / 1000) / 0.05) for c in counts]
    expected = [w / sum(weights) for w in weights]
    assert class_probabilities(counts, 0.05) == pytest.approx(expected)
    assert class_probabilities(np.array(counts[::-1]), 0.05) == pytest.approx(expected[::-1])
    tensor = class_probabilities(torch.tensor(counts), 0.05)
    assert tensor == pytest.approx(expected)
    assert tensor.dtype == np.float64


def test_absent_class_is_never_drawn():
    p = class_probabilities([10, 0, 10], 0.01)
    assert p.tolist() == [0.5, 0.0, 0.5]


def test_tiny_temperature_does_not_overflow():
    assert class_probabilities([9e12, 1.0], 1e-6).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("counts", "temperature"), [([1, -1], 0.01), ([0, 0], 0.01), ([1, 2], 0.0), ([[1], [2]], 1.0)]
)
def test_wrong_arguments(counts, temperature):
    with pytest.raises(ValueError, match=r"pixel_counts|temperature"):
        class_probabilities(counts, temperature)


PIXELS = np.array([[50, 0, 9], [30, 11, 0], [90, 10, 25]])


def test_images_show_enough_of_the_drawn_class():
    sampler = RareClassSampler(PIXELS, 0.3, 10, ["a", "b", "c"])
    rng = np.random.default_rng(0)
    draws = [sampler.draw(rng) for _ in range(3000)]
    assert set(draws) == {(0, 0), (0, 1), (0, 2), (1, 1), (2, 2)}  # 10 is not more than 10
    drawn = np.bincount([train_id for train_id, _ in draws]) / 3000
    assert drawn == pytest.approx(class_probabilities([170, 21, 34], 0.3), abs=0.03)
    of_a = np.bincount([image for train_id, image in draws if train_id == 0])
    assert of_a / of_a.sum() == pytest.approx([1 / 3] * 3, abs=0.08)


def test_classes_are_listed_rarest_first_and_absent_ones_left_out():
    pixels = np.array([[50, 0, 11, 30]])
    assert RareClassSampler(pixels, 0.01, 10, list("abcd")).classes == [2, 3, 0]


def test_class_without_a_suitable_image_is_named():
    with pytest.raises(
        InputError, match=r"'b' .*more than 11 pixels \(the most is 11\).*MIN_PIXELS"
    ):
        RareClassSampler(PIXELS, 0.01, 11, ["a", "b", "c"])


def test_labels_without_any_class():
    with pytest.raises(InputError, match="no label file"):
        RareClassSampler(np.zeros((2, 3), int), 0.01, 0, ["a", "b", "c"])


def test_all_source_sets_are_counted(cfg, day_and_dusk):
    from copt_d2.data.datasets import datasets_named

    day_and_dusk.camvid_pair("val", "0016E5_0", np.full((19, 27), 10))
    names = ("camvid_day_train", "camvid_day_val")
    cfg.DATASETS.TRAIN = names
    sampler = build_rare_class_sampler(cfg, datasets_named("DATASETS.TRAIN", names))
    assert set(sampler.classes) == {0, 3, 8, 10}
    assert sampler.images[10].tolist() == [5]  # after the five day images
    assert sampler.images[8].tolist() == [0, 1]


def test_temperature_key(cfg, day_and_dusk):
    cfg.DATALOADER.RARE_CLASS.TEMPERATURE = 0.0
    with pytest.raises(InputError, match=r"RARE_CLASS.TEMPERATURE"):
        build_rare_class_sampler(cfg, [])
