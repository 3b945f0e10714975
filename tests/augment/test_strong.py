"""Blur, the random draws, and their use on normalised images."""

import random

import numpy as np
import pytest
import torch

from copt_d2.augment import draw_strong, gaussian_blur, strong_augment
from copt_d2.structures import StrongDraw

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def full_blur(image, sigma, sizes):
    """Blur of (h, w) float64 with the whole kernel of ``sizes`` (rows, columns)."""
    for axis, size in enumerate(sizes):
        offsets = np.arange(size) - size // 2
        kernel = np.exp(-(offsets**2) / (2 * sigma**2))
        kernel /= kernel.sum()
        padding = [(0, 0), (0, 0)]
        padding[axis] = (size // 2, size // 2)
        padded = np.pad(image, padding, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=axis)
        image = windows @ kernel
    return image


@pytest.mark.parity
@pytest.mark.parametrize("sigma", [0.15, 0.6, 1.15])
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((64, 97), (7, 9)),  # ceil(6.4) = 7, odd: stays; ceil(9.7) = 10, even: 9
        ((21, 1024), (3, 103)),
        ((512, 11), (51, 1)),
    ],
)
def test_blur_equals_the_untruncated_kernel(sigma, shape, sizes):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1)).double()
    expected = np.stack(
        [[full_blur(plane, sigma, sizes) for plane in image] for image in images.numpy()]
    )
    # the kernel is cut at 6 sigma: exp(-18) = 1.5e-8 of its peak
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-7)
    actual = gaussian_blur(images.float(), sigma)
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("length", "size"), [(1024, 103), (512, 51), (256, 25), (100, 9), (30, 3)])
def test_kernel_size_follows_the_axis(length, size):
    impulse = torch.zeros(1, 1, 11, length, dtype=torch.float64)  # 11 rows: a kernel of 1
    impulse[..., length // 2] = 1
    response = gaussian_blur(impulse, 1e3)  # so wide that only the kernel's size limits it
    assert (response[0, 0, 0] > 0).sum() == size
    response = gaussian_blur(impulse.transpose(2, 3), 1e3)
    assert (response[0, 0, :, 0] > 0).sum() == size


def test_blur_keeps_float32_in_an_autocast_region():
    images = torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        blurred = gaussian_blur(images, 1.0)
    assert blurred.dtype == torch.float32
    assert torch.equal(blurred, gaussian_blur(images, 1.0))


def test_blur_of_a_constant_is_the_constant():
    images = torch.full((1, 2, 33, 47), 0.3)
    torch.testing.assert_close(gaussian_blur(images, 1.15), images)


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_blur_refuses_a_sigma_that_is_not_positive(sigma):
    with pytest.raises(ValueError, match="sigma"):
        gaussian_blur(torch.rand(1, 3, 20, 20), sigma)


def test_draws_follow_pythons_generator():
    random.seed(5)
    first = draw_strong(3, 0.8, 0.2, 0.5)
    torch.rand(4)
    np.random.rand(4)
    random.seed(5)
    assert draw_strong(3, 0.8, 0.2, 0.5) == first
    assert draw_strong(3, 1.0, 0.2, 1.0) != draw_strong(3, 1.0, 0.2, 1.0)


def test_probabilities_zero_and_one():
    assert draw_strong(2, 0.0, 0.2, 0.0) == [StrongDraw(), StrongDraw()]
    for draw in draw_strong(5, 1.0, 0.2, 1.0):
        assert draw.factors is not None
        assert draw.sigma is not None


def test_frequencies_and_ranges():
    random.seed(0)
    batches = [draw_strong(2, 0.8, 0.2, 0.5) for _ in range(1000)]
    # the decision is shared by a batch
    assert all((a.factors is None) == (b.factors is None) for a, b in batches)
    assert all((a.sigma is None) == (b.sigma is None) for a, b in batches)
    jittered = [draw for batch in batches for draw in batch if draw.factors is not None]
    blurred = [draw for batch in batches for draw in batch if draw.sigma is not None]
    # four standard deviations of the mean: 0.05 and 0.06
    assert len(jittered) / 2000 == pytest.approx(0.8, abs=0.05)
    assert len(blurred) / 2000 == pytest.approx(0.5, abs=0.06)
    both = sum(a.factors is not None and a.sigma is not None for a, _ in batches) / 1000
    assert both == pytest.approx(0.4, abs=0.06)  # independent of each other
    factors = np.array([draw.factors for draw in jittered])
    low, high = factors.min(axis=0), factors.max(axis=0)
    np.testing.assert_allclose(low, [0.8, 0.8, 0.8, -0.2], atol=0.01)
    np.testing.assert_allclose(high, [1.2, 1.2, 1.2, 0.2], atol=0.01)
    assert (low >= [0.8, 0.8, 0.8, -0.2]).all()
    assert (high <= [1.2, 1.2, 1.2, 0.2]).all()
    sigmas = [draw.sigma for draw in blurred]
    assert 0.15 <= min(sigmas) < 0.17
    assert 1.13 < max(sigmas) <= 1.15
    assert len({draw.order for draw in jittered}) == 24


def test_factors_order_and_sigma_are_drawn_per_image():
    random.seed(1)
    draws = draw_strong(6, 1.0, 0.2, 1.0)
    assert len({draw.factors for draw in draws}) == 6
    assert len({draw.sigma for draw in draws}) == 6
    assert len({draw.order for draw in draws}) > 1


def test_shared_draws_have_one_order_and_one_sigma():
    random.seed(1)
    draws = draw_strong(6, 1.0, 0.2, 1.0, shared=True)
    assert len({draw.factors for draw in draws}) == 6
    assert len({draw.sigma for draw in draws}) == 1
    assert len({draw.order for draw in draws}) == 1


def test_jitter_works_on_pixels_between_zero_and_one():
    # on pixels: (0.5 + 0.1) * 0.9, whatever the normalisation
    pixels = torch.full((1, 3, 4, 5), 0.5)
    draw = StrongDraw(factors=(1.1, 0.9, 1.0, 0.0), order=(0, 1, 2, 3))
    actual = strong_augment((pixels * 255 - MEAN) / STD, [draw], MEAN, STD)
    torch.testing.assert_close((actual * STD + MEAN) / 255, torch.full((1, 3, 4, 5), 0.54))


def test_each_image_gets_its_own_draw_and_the_jitter_comes_before_the_blur():
    images = torch.randn(3, 3, 33, 47, generator=torch.Generator().manual_seed(2))
    both = StrongDraw(factors=(1.2, 1.2, 1.0, 0.0), order=(1, 0, 2, 3), sigma=0.9)
    draws = [StrongDraw(), StrongDraw(sigma=0.7), both]
    actual = strong_augment(images, draws, MEAN, STD)
    assert torch.equal(actual[0], images[0])
    expected = full_blur(images[1, 2].double().numpy(), 0.7, (3, 5))
    np.testing.assert_allclose(actual[1, 2].numpy(), expected, atol=1e-5)
    # a neutral saturation and hue only pass through HSV
    pixels = (images[2].double() * STD + MEAN) / 255 * 1.2
    pixels = (pixels.clamp(0, 1) + 0.2).clamp(0, 1)
    jittered = (pixels * 255 - MEAN) / STD
    expected = np.stack([full_blur(plane, 0.9, (3, 5)) for plane in jittered.numpy()])
    np.testing.assert_allclose(actual[2].numpy(), expected, atol=1e-4)


def test_as_many_draws_as_images():
    with pytest.raises(ValueError, match="2 images"):
        strong_augment(torch.zeros(2, 3, 20, 20), [StrongDraw()], MEAN, STD)
