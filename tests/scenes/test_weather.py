import numpy as np
import pytest

from copt_d2.scenes import render_scene
from copt_d2.scenes.camera import Camera
from copt_d2.scenes.layers import LayeredPainter, Positions
from copt_d2.scenes.lights import add_glow, point_light
from copt_d2.scenes.painter import TRAIN_ID
from copt_d2.scenes.precipitation import lens_drops, rain_streaks, snow_flakes
from copt_d2.scenes.styles import STYLES, Light
from copt_d2.scenes.weather import clearness, haze, mirrored, snow_caps, wheel_tracks

CONDITIONS = ("fog", "night", "rain", "snow")
CAMERA = Camera(128, 1.0, 0.0, 1.5, (0.5, 0.4), 0.0, 0.0)


@pytest.fixture(scope="module")
def scenes():
    """Style -> (images (5, 96, 192, 3) float, labels) of the same five streets."""
    drawn = {}
    for style in ("photographic", *CONDITIONS):
        pairs = [render_scene([8, index], style, 192) for index in range(5)]
        images, labels = (np.stack(part) for part in zip(*pairs, strict=True))
        drawn[style] = images.astype(float), labels
    return drawn


@pytest.fixture
def painter():
    light = Light(1, np.array([200.0, 200, 200]), 1e9, 0.1, (0.9, 1.0))
    return LayeredPainter(CAMERA, STYLES["fog"], light, [5])


def brightness(scenes, style, *names):
    images, labels = scenes[style]
    chosen = np.isin(labels, [TRAIN_ID[name] for name in names]) if names else np.s_[:]
    return images.mean(axis=-1)[chosen].mean()


def test_weather_changes_looks_only(scenes):
    images, labels = scenes["photographic"]
    for style in CONDITIONS:
        assert np.array_equal(scenes[style][1], labels)
        assert np.abs(scenes[style][0] - images).mean() > 15


def test_night_is_dark_with_bright_lamps(scenes):
    assert brightness(scenes, "night") < 0.5 * brightness(scenes, "photographic")
    assert brightness(scenes, "night", "sky") < 50
    assert (scenes["night"][0].max(axis=(1, 2)).min(axis=1) > 180).all()  # in each picture


def test_fog_hides_what_is_far(scenes):
    def contrast(style, rows):
        images, labels = scenes[style]
        part = np.s_[:, rows[0] : rows[1]]
        return images[part].mean(axis=-1)[labels[part] != TRAIN_ID["sky"]].std()

    far, near = (28, 44), (64, 96)  # of 96 rows; the horizon lies near row 41
    loss_far = contrast("fog", far) / contrast("photographic", far)
    loss_near = contrast("fog", near) / contrast("photographic", near)
    assert loss_far < 0.75
    assert loss_far < loss_near


def test_snow_brightens_the_ground(scenes):
    for name in ("road", "sidewalk", "terrain"):
        assert brightness(scenes, "snow", name) > 40 + brightness(scenes, "photographic", name)


def test_rain_darkens_the_road_and_greys_the_picture(scenes):
    assert brightness(scenes, "rain", "road") < brightness(scenes, "photographic", "road") - 10
    ranges = [np.ptp(scenes[style][0], axis=-1).mean() for style in ("rain", "photographic")]
    assert ranges[0] < ranges[1]


def test_air_lets_through_a_share_by_depth():
    assert clearness(np.array([[30.0]]), 30.0)[0, 0, 0] == pytest.approx(np.exp(-1))


def test_haze_leaves_the_near_and_takes_the_far(painter):
    painter.canvas[..., 3] = TRAIN_ID["building"]
    depth = np.full((64, 128), 0.01, np.float32)
    depth[:, 64:] = 1e4
    hazy = haze(painter, np.full((64, 128, 3), 50, np.float32), depth, 30.0)
    assert hazy[:, :64] == pytest.approx(50, abs=0.1)
    assert hazy[0, 64:] == pytest.approx(200, abs=40)  # the air's colour varies by 8


def test_wet_road_mirrors_what_stands_behind_it(painter):
    painter.canvas[..., 3] = TRAIN_ID["road"]
    painter.canvas[:32, :, 3] = TRAIN_ID["building"]
    image = np.full((64, 128, 3), 60, np.float32)
    image[:32, :, 0] = 220  # a red house
    wet = mirrored(painter, image)
    assert np.array_equal(wet[:32], image[:32])
    red = wet[..., 0].mean(axis=1)
    assert red[34] > 80
    assert red[34] > red[60] > 59


def test_snow_lies_on_upper_edges_of_things_but_not_on_people(painter):
    depth = np.full((64, 128), 100.0, np.float32)
    depth[30:50, 20:60] = depth[30:50, 70:110] = 10.0
    painter.canvas[..., 3] = TRAIN_ID["sky"]
    painter.canvas[30:50, 20:60, 3] = TRAIN_ID["car"]
    painter.canvas[30:50, 70:110, 3] = TRAIN_ID["person"]
    capped = snow_caps(painter, np.zeros((64, 128, 3), np.float32), depth)
    assert (capped[30, 22:58] > 100).all()
    assert not capped[34:, 22:58].any()
    assert not capped[:, 70:110].any()


def test_wheels_leave_dark_tracks_in_each_lane(painter):
    painter.canvas[..., 3] = TRAIN_ID["road"]
    white = np.full((64, 128, 3), 220, np.float32)
    tracks = wheel_tracks(painter, white, np.full((64, 128), 8.0, np.float32)).mean(axis=(0, 2))
    # the lane's middle is 1.65 m from the road's; a metre has 16 px at 8 m; wheels 0.75 m off it
    wheel, middle = round(64 + 16 * (1.65 + 0.75)), round(64 + 16 * 1.65)
    assert tracks[wheel] < tracks[middle] - 20


def test_light_falls_to_a_quarter_at_its_reach():
    away = Positions(np.array([[0.0, 3.0]]), np.array([[6.0, 6.0]]), np.array([[9.0, 9.0]]))
    light = point_light(away, np.array([0.0, 6.0, 9.0]), 3.0)
    assert light[0] == pytest.approx([1.0, 0.25])


def test_glow_spreads_and_adds_only():
    shine = np.zeros((64, 128, 3), np.float32)
    shine[30:34, 60:64] = 1000
    image = np.full((64, 128, 3), 20, np.float32)
    glowing = add_glow(image, shine, 1.0)
    assert (glowing >= 20).all()
    assert glowing[32, 62, 0] > 255
    assert glowing[32, 70, 0] > glowing[32, 90, 0] > 19
    assert np.array_equal(add_glow(image, 0 * shine, 1.0), image)


@pytest.mark.parametrize("effect", [rain_streaks, snow_flakes, lens_drops])
@pytest.mark.parametrize("width", [128, 352])
def test_precipitation_keeps_the_shape_and_the_input(effect, width):
    image = np.random.default_rng(1).uniform(40, 90, (width // 2, width, 3)).astype(np.float32)
    before = image.copy()
    falling = effect(image, np.random.default_rng(2))
    assert falling.shape == image.shape
    assert falling.dtype == np.float32
    assert np.array_equal(image, before)
    assert 0.001 < (np.abs(falling - image).max(axis=-1) > 5).mean() < 0.5
    assert np.array_equal(falling, effect(image, np.random.default_rng(2)))
