from dataclasses import replace

import numpy as np
import pytest

from copt_d2.scenes.camera import Camera
from copt_d2.scenes.finish import illuminate
from copt_d2.scenes.layout import LANE, Roadside, Segment, Thing
from copt_d2.scenes.painter import TRAIN_ID, Painter
from copt_d2.scenes.styles import STYLES, Light
from copt_d2.scenes.town import draw_town
from copt_d2.scenes.town_boundary import paint_town_segment
from copt_d2.scenes.town_things import paint_lamp_column, paint_town_car, paint_walker
from copt_d2.scenes.trees import paint_bare_tree


@pytest.fixture
def painter():
    # 400 px focal length: 20 px per metre at 20 m; eyes 1.5 m above the road
    camera = Camera(400, 1.0, 0.0, 1.5, (0.5, 0.6), 0.0, 0.0, aspect=0.75)
    clear = Light(1, np.zeros(3), 1e9, shadow=0.5, sides=(0.5, 1.0))
    painter = Painter(camera, STYLES["town"], clear, [5])
    painter.canvas[:] = (240, 240, 240, TRAIN_ID["sky"])
    return painter


def where(painter, name):
    return painter.canvas[..., 3] == TRAIN_ID[name]


def test_the_picture_has_the_cameras_aspect(painter):
    assert painter.canvas.shape == (300, 400, 4)


def test_one_sees_through_a_bare_crown_that_is_labelled_whole(painter):
    paint_bare_tree(painter, 0.0, 20.0, 1.0)
    tree = where(painter, "vegetation")
    brightness = painter.canvas[..., :3].mean(axis=2)
    rows = np.nonzero(tree.any(axis=1))[0]
    crown = tree & (np.arange(300) < rows.mean())[:, None]
    assert crown.sum() > 2000
    assert (brightness[crown] > 150).mean() > 0.2  # the sky behind
    assert (brightness[crown] < 130).mean() > 0.1  # boughs
    assert rows[-1] == pytest.approx(0.6 * 300 + 1.5 * 20, abs=5)  # stands on the ground


def test_iron_railings_are_fence_and_one_sees_through(painter):
    side = Roadside(1, (), 0.0, (), boundary=4.0)
    painter.shape = np.random.default_rng(3)
    paint_town_segment(painter, side, Segment("railings", 8.0, 16.0, 2.0))
    fence = where(painter, "fence")
    assert fence.sum() > 500
    spread = painter.canvas[fence][:, :3].mean(axis=1)
    assert spread.max() > 150 > 100 > spread.min()


@pytest.mark.parametrize(
    ("paint", "name", "height"),
    [(paint_walker, "person", 1.75), (paint_town_car, "car", 1.5), (paint_lamp_column, "pole", 8)],
)
def test_things_have_their_class_and_about_their_height(painter, paint, name, height):
    for heading in (0.0, np.pi):
        painter.canvas[:] = (240, 240, 240, TRAIN_ID["sky"])
        paint(painter, Thing("any", 1.0, 20.0, heading))
        rows = np.nonzero(where(painter, name).any(axis=1))[0]
        assert 0.6 * height < (rows[-1] - rows[0]) / 20 < 1.4 * height
        assert set(np.unique(painter.canvas[..., 3])) == {TRAIN_ID["sky"], TRAIN_ID[name]}


def test_a_street_of_the_town_has_its_camera_on_the_road():
    for seed in range(8):
        street = draw_town(np.random.default_rng(seed), 256, 0.75)
        assert abs(street.camera.x) < street.half_width
        assert street.camera.rows == 192
        assert street.half_width > 0.8 * LANE * street.lanes
        assert all(side.segments[-1].far > 100 for side in street.sides)


def test_the_sky_may_be_blown_out():
    camera = Camera(64, 1.0, 0.0, 1.5, (0.5, 0.5), 0.0, 0.0)
    light = Light(1, np.zeros(3), 1e9, shadow=0.5, sides=(0.5, 1.0))
    means = []
    for gain in ((1.0, 1.0), (2.0, 2.0)):
        painter = Painter(camera, replace(STYLES["town"], sky_gain=gain), light, [5])
        painter.canvas[:] = (100, 100, 100, TRAIN_ID["road"])
        painter.canvas[:10, :, 3] = TRAIN_ID["sky"]
        image = illuminate(painter)
        means.append((image[:10].mean(), image[10:].mean()))
    assert means[1][0] == pytest.approx(2 * means[0][0], rel=1e-4)
    assert means[1][1] == pytest.approx(means[0][1])
