import cv2
import numpy as np
import pytest

from copt_d2.data.label_spaces import CITYSCAPES_CLASSES
from copt_d2.scenes import render_scene
from copt_d2.scenes.benchmark import TOWN_VERSION, VERSION, WEATHER_VERSION
from copt_d2.scenes.styles import STYLES

ROAD, SKY = 0, 10


@pytest.fixture(scope="module")
def forty():
    """Labels of 40 small scenes."""
    return np.stack([render_scene([3, index], "rendered", 128)[1] for index in range(40)])


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_gives_same_bits(style):
    first = render_scene([4, 7], style, 160)
    render_scene([4, 8], style, 160)  # nothing may carry over from another scene
    again = render_scene([4, 7], style, 160)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], render_scene([4, 8], style, 160)[1])


@pytest.mark.parametrize("style", STYLES)
def test_shapes_and_types(style):
    image, labels = render_scene(11, style, 192)
    height = 144 if style == "town" else 96
    assert image.shape == (height, 192, 3)
    assert labels.shape == (height, 192)
    assert image.dtype == labels.dtype == np.uint8
    assert labels.max() < 19


def test_both_styles_draw_the_same_street():
    for index in range(6):
        rendered, labels = render_scene([9, index], "rendered", 256)
        photograph, same = render_scene([9, index], "photographic", 256)
        assert np.array_equal(labels, same)
        assert np.abs(rendered.astype(int) - photograph).mean() > 15


def test_forty_scenes_hold_at_least_fourteen_classes(forty):
    assert forty.max() < len(CITYSCAPES_CLASSES)
    assert len(np.unique(forty)) >= 14


def test_frequencies_are_those_of_a_street(forty):
    share = np.bincount(forty.ravel(), minlength=19) / forty.size
    assert 0.2 < share[0] < 0.5  # road
    assert 0.1 < share[2] < 0.45  # building
    assert share[[0, 2, 8, 10]].sum() > 0.6  # with vegetation and sky
    assert (share[[11, 12, 17, 18]] > 0.001).all()  # people and two-wheelers are rare, not absent


def test_road_below_and_sky_above(forty):
    rows = np.arange(64)[None, :, None]
    assert (rows * (forty == ROAD)).sum() / (forty == ROAD).sum() > 40
    assert (rows * (forty == SKY)).sum() / (forty == SKY).sum() < 24
    assert not (forty[:, -1] == SKY).any()


def test_photographs_have_texture_where_renderings_are_flat():
    def roughness(style):
        image, labels = render_scene([21, 3], style, 256)
        road = (labels[:, 1:] == ROAD) & (labels[:, :-1] == ROAD)
        return np.median(np.abs(np.diff(image.astype(float).mean(axis=2), axis=1))[road])

    assert roughness("rendered") < 0.5
    assert roughness("photographic") > 1.5


# of 255; the numbers are OpenCV 5's, from which 4.9 differs by up to 0.18
SLACK = 0.05 if int(cv2.__version__.partition(".")[0]) >= 5 else 0.25


@pytest.mark.parametrize(
    ("style", "mean"),
    [("rendered", (109.29, 118.77, 126.38)), ("photographic", (117.85, 116.55, 115.28))],
)
def test_pictures_are_those_of_this_version(style, mean):
    """Kept data sets are told apart by VERSION: whoever changes a picture raises it, and this."""
    assert VERSION == 2
    image, _ = render_scene([5, 1], style, 256)
    assert image.mean(axis=(0, 1)) == pytest.approx(mean, abs=SLACK)


@pytest.mark.parametrize(
    ("style", "mean"),
    [
        ("synthetic", (113.58, 106.29, 98.11)),
        ("fog", (128.77, 128.64, 128.05)),
        ("night", (46.66, 46.32, 47.32)),
        ("rain", (101.07, 103.99, 107.33)),
        ("snow", (160.05, 152.37, 151.71)),
    ],
)
def test_other_looks_are_those_of_this_version(style, mean):
    """As above; their version is WEATHER_VERSION."""
    assert WEATHER_VERSION == 1
    image, _ = render_scene([5, 1], style, 256)
    assert image.mean(axis=(0, 1)) == pytest.approx(mean, abs=SLACK)


def test_towns_are_those_of_this_version():
    """As above; their version is TOWN_VERSION."""
    assert TOWN_VERSION == 1
    image, _ = render_scene([5, 1], "town", 256)
    assert image.mean(axis=(0, 1)) == pytest.approx((123.09, 117.98, 117.35), abs=SLACK)


def test_a_town_is_narrow_and_holds_thin_things():
    labels = np.stack([render_scene([3, index], "town", 128)[1] for index in range(16)])
    share = np.bincount(labels.ravel(), minlength=19) / labels.size
    assert 0.2 < share[0] < 0.45  # road
    assert 0.15 < share[2] < 0.45  # building
    assert 0.03 < share[8] < 0.25  # vegetation
    assert (share[[4, 5, 7, 11]] > 0.003).all()  # fence, pole, traffic sign, person


def test_the_two_sources_differ():
    for index in range(3):
        game, labels = render_scene([9, index], "rendered", 192)
        other, same = render_scene([9, index], "synthetic", 192)
        assert np.array_equal(labels, same)
        assert np.abs(game.astype(int) - other).mean() > 15


def test_unknown_style_is_named():
    with pytest.raises(ValueError, match=r"oil.*rendered, photographic"):
        render_scene(0, "oil")
