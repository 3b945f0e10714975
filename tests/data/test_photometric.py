import colorsys

import numpy as np
import pytest

from copt_d2.data.photometric import photometric_distortion


class Draws:
    """Answers the generator's calls in order: coins (True = act), uniform values, the hue."""

    def __init__(self, coins, uniforms=(), hue=0):
        self.coins, self.uniforms, self.hue = list(coins), list(uniforms), hue

    def random(self):
        return 0.1 if self.coins.pop(0) else 0.9

    def uniform(self, low, high):
        value = self.uniforms.pop(0)
        assert low <= value <= high
        return value

    def integers(self, low, high):
        assert low <= self.hue < high
        return self.hue


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def clipped(values):
    return np.clip(values, 0, 255).astype(np.uint8)


# coins in the order: brightness, contrast, contrast first, saturation, hue


def test_nothing_drawn_nothing_changed(image):
    assert (photometric_distortion(image, Draws([0, 0, 0, 0, 0])) == image).all()


def test_brightness_is_added(image):
    got = photometric_distortion(image, Draws([1, 0, 0, 0, 0], [-31.5]))
    assert (got == clipped(image - 31.5)).all()


@pytest.mark.parametrize("first", [0, 1])
def test_contrast_multiplies_brightened_values(image, first):
    got = photometric_distortion(image, Draws([1, 1, first, 0, 0], [20.25, 1.3]))
    assert (got == clipped(clipped(image + 20.25) * 1.3)).all()


def test_contrast_comes_before_or_after_the_saturation():
    image = np.full((3, 5, 3), (240, 200, 190), dtype=np.uint8)
    before = photometric_distortion(image, Draws([0, 1, 1, 1, 0], [1.5, 0.5]))
    after = photometric_distortion(image, Draws([0, 1, 0, 1, 0], [1.5, 0.5]))
    # before: x 1.5 clips to white, which has no saturation left
    assert (before == 255).all()
    # after: halved saturation (240, 220, 215), then x 1.5 clips all to 255
    assert np.abs(after.astype(int) - 255).max() <= 3
    darker = photometric_distortion(image, Draws([0, 1, 0, 1, 0], [0.5, 0.5]))
    assert np.abs(darker[0, 0].astype(int) - (120, 110, 107)).max() <= 2


@pytest.mark.parametrize(("saturation", "hue"), [(0.6, 0), (1.4, 0), (1.0, 17), (1.0, -18)])
def test_saturation_and_hue_against_hsv_by_hand(image, saturation, hue):
    coins = [0, 0, 0, saturation != 1.0, hue != 0]
    got = photometric_distortion(image, Draws(coins, [saturation], hue))
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(image[index] / 255))
        changed = colorsys.hsv_to_rgb((h + hue / 180) % 1, min(s * saturation, 1), v)
        expected[index] = np.multiply(changed, 255)
    # 8-bit HSV has 180 hues, so single pixels may be off by a few levels
    error = np.abs(got - expected)
    assert error.max() <= 6
    assert error.mean() < 1.5


def test_each_step_happens_half_of_the_time():
    grey = np.full((2, 2, 3), 100, dtype=np.uint8)
    rng = np.random.default_rng(1)
    same = sum((photometric_distortion(grey, rng) == 100).all() for _ in range(800))
    # on grey only brightness and contrast show: unchanged in a quarter of the cases
    assert abs(same / 800 - 0.25) < 0.06


def test_input_is_left_alone(image):
    copy = image.copy()
    photometric_distortion(image, np.random.default_rng(2))
    assert (image == copy).all()
