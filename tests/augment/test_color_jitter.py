"""Colour jitter against Python's colorsys, pixel by pixel."""

import colorsys
import random

import pytest
import torch

from copt_d2.augment import color_jitter

NEUTRAL = (1.0, 1.0, 1.0, 0.0)


def jitter(images, factors, order=(0, 1, 2, 3)):
    return color_jitter(images, torch.tensor(factors, dtype=images.dtype), order)


def picture(*pixels):
    """(1, 3, 1, P) float64 from P RGB triples."""
    return torch.tensor(pixels, dtype=torch.float64).T.reshape(1, 3, 1, len(pixels))


def clamp(value):
    return min(max(value, 0.0), 1.0)


def reference_pixel(rgb, factors, order):
    brightness, contrast, saturation, hue = factors
    for operation in order:
        if operation == 0:
            rgb = [clamp(c + brightness - 1) for c in rgb]
        elif operation == 1:
            rgb = [clamp(c * contrast) for c in rgb]
        else:
            h, s, v = colorsys.rgb_to_hsv(*rgb)
            s *= v / (v + 1e-6)  # the reference divides by max + 1e-6
            if operation == 2:
                s = clamp(s * saturation)
            else:
                h = (h + hue) % 1.0
            rgb = colorsys.hsv_to_rgb(h, s, v)
    return list(rgb)


def reference(images, factors, order):
    expected = torch.empty_like(images)
    for n, image in enumerate(images):
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                pixel = reference_pixel(image[:, y, x].tolist(), factors[n], order)
                expected[n, :, y, x] = torch.tensor(pixel, dtype=images.dtype)
    return expected


@pytest.mark.parity
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-6)])
def test_all_operations_equal_colorsys(order, dtype, tolerance):
    images = torch.rand(3, 3, 5, 7, generator=torch.Generator().manual_seed(4)).to(dtype)
    factors = [(1.2, 0.8, 1.2, 0.2), (0.8, 1.2, 0.8, -0.2), (1.03, 1.1, 0.93, 0.11)]
    actual = jitter(images, factors, order)
    assert actual.dtype == dtype
    expected = reference(images.double(), factors, order)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance)


def test_brightness_is_added_and_clamped():
    actual = jitter(picture((0.0, 0.5, 0.9)), [(1.2, 1, 1, 0)], (0,))
    torch.testing.assert_close(actual, picture((0.2, 0.7, 1.0)))
    actual = jitter(picture((0.1, 0.5, 0.9)), [(0.8, 1, 1, 0)], (0,))
    torch.testing.assert_close(actual, picture((0.0, 0.3, 0.7)))


def test_contrast_multiplies_without_a_mean_and_is_clamped():
    actual = jitter(picture((0.0, 0.5, 0.9)), [(1, 1.2, 1, 0)], (1,))
    torch.testing.assert_close(actual, picture((0.0, 0.6, 1.0)))


def test_saturation_stays_within_one():
    # S = 0.6 / 0.9; times 1.2 = 0.8: the smallest channel falls to V * (1 - S) = 0.18
    actual = jitter(picture((0.9, 0.3, 0.3)), [(1, 1, 1.2, 0)], (2,))
    torch.testing.assert_close(actual, picture((0.9, 0.18, 0.18)), rtol=0, atol=1e-5)
    actual = jitter(picture((0.9, 0.01, 0.01)), [(1, 1, 1.2, 0)], (2,))  # S > 1 is cut
    torch.testing.assert_close(actual, picture((0.9, 0.0, 0.0)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (1 / 3, (0, 1, 0)),
        (-1 / 3, (0, 0, 1)),
        (0.5, (0, 1, 1)),
        (1.0, (1, 0, 0)),
        (-0.5, (0, 1, 1)),
    ],
)
def test_hue_turns_and_wraps(turn, expected):
    actual = jitter(picture((1.0, 0.0, 0.0)), [(1, 1, 1, turn)], (3,))
    torch.testing.assert_close(actual, picture(expected).double(), rtol=0, atol=1e-5)


def test_grey_and_black_stay_as_they_are():
    grey = picture((0.4, 0.4, 0.4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    actual = jitter(grey, [(1, 1, 1.2, 0.17)], (2, 3))
    torch.testing.assert_close(actual, grey)


def test_ties_between_the_largest_channels():
    # the hues half-way between the primaries, 1/6, 1/2 and 5/6 of a turn, move to 1/3, 2/3 and 0
    ties = picture((0.8, 0.8, 0.2), (0.2, 0.8, 0.8), (0.8, 0.2, 0.8))
    actual = jitter(ties, [(1, 1, 1, 1 / 6)], (3,))
    expected = picture((0.2, 0.8, 0.2), (0.2, 0.2, 0.8), (0.8, 0.2, 0.2))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_the_order_of_the_operations_counts():
    factors = [(1.2, 0.8, 1, 0)]
    first = jitter(picture((0.5, 0.5, 0.5)), factors, (0, 1))
    second = jitter(picture((0.5, 0.5, 0.5)), factors, (1, 0))
    torch.testing.assert_close(first, picture((0.56, 0.56, 0.56)))  # (0.5 + 0.2) * 0.8
    torch.testing.assert_close(second, picture((0.6, 0.6, 0.6)))  # 0.5 * 0.8 + 0.2


def test_each_image_has_its_own_factors():
    images = torch.full((2, 3, 2, 3), 0.5)
    actual = jitter(images, [(1.1, 1, 1, 0), NEUTRAL])
    torch.testing.assert_close(actual[0], torch.full((3, 2, 3), 0.6))
    torch.testing.assert_close(actual[1], torch.full((3, 2, 3), 0.5))


def test_the_input_is_not_changed():
    images = torch.rand(1, 3, 2, 3)
    before = images.clone()
    jitter(images, [(1.2, 0.8, 1.1, 0.1)], random.Random(0).sample(range(4), 4))
    assert torch.equal(images, before)
