import numpy as np
import pytest

from copt_d2.scenes.camera import Camera
from copt_d2.scenes.layers import (
    SHINES,
    SKY_DEPTH,
    LayeredPainter,
    ground_depth,
    positions,
)
from copt_d2.scenes.painter import TRAIN_ID
from copt_d2.scenes.styles import STYLES, Light

WALL, LAMP = np.array([90.0, 80.0, 70.0]), np.array([1000.0, 500.0, 250.0])
# 200 px focal length, principal point (100, 40), 1.5 m above the road
CAMERA = Camera(200, 1.0, 0.0, 1.5, (0.5, 0.4), 0.0, 0.0)


@pytest.fixture
def painter():
    clear = Light(1, np.zeros(3), 1e9, shadow=0.5, sides=(0.5, 1.0))
    painter = LayeredPainter(CAMERA, STYLES["night"], clear, [5])
    painter.canvas[..., 3] = TRAIN_ID["sky"]
    return painter


def square(half, z):
    return np.array([(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)])


def test_what_faces_the_camera_has_one_depth(painter):
    painter.face(square(1.0, 10.0), WALL, "car")
    inside = painter.canvas[..., 3] == TRAIN_ID["car"]
    assert inside.any()
    assert (painter.depth()[inside] == 10).all()
    assert (painter.depth()[~inside] == SKY_DEPTH).all()


def test_a_wall_along_the_road_has_depth_by_pixel(painter):
    painter.face(np.array([(2.0, 3, 5), (2, 3, 40), (2, 0, 40), (2, 0, 5)]), WALL, "wall")
    # u = 100 + 200 * 2 / z: column 120 shows z = 20, column 150 shows z = 8
    assert painter.depth()[40, 120] == pytest.approx(20, rel=0.02)
    assert painter.depth()[40, 150] == pytest.approx(8, rel=0.02)


def test_ground_depth_by_similar_triangles(painter):
    # v - 40 = 200 * 1.5 / z, at the middle of the row: row 69 shows z = 300 / 29.5
    assert ground_depth(CAMERA)[69] == pytest.approx(300 / 29.5, rel=0.01)
    painter.canvas[69, :, 3] = TRAIN_ID["road"]
    assert painter.depth()[69, 7] == ground_depth(CAMERA)[69]


def test_ground_ends_at_a_crest():
    crest = Camera(200, 1.0, 0.0, 1.5, (0.5, 0.4), 0.0, -0.001)
    depth = ground_depth(crest)
    assert (np.diff(depth) <= 0).all()


def test_positions_are_the_inverse_of_projection():
    view = Camera(200, 0.9, 0.7, 1.6, (0.45, 0.42), 0.002, 0.0003)
    depth = np.random.default_rng(0).uniform(3, 90, (100, 200)).astype(np.float32)
    world = positions(view, depth)
    pixels = view.project(np.stack([world.x, world.y, world.z], axis=-1).astype(float))
    rows, columns = np.mgrid[:100, :200] + 0.5
    assert np.abs(pixels[..., 0] - columns).max() < 0.01
    assert np.abs(pixels[..., 1] - rows).max() < 0.01


def test_a_lamp_shines_until_something_hides_it(painter):
    painter.ball(np.array([0.0, 1.0, 20.0]), (1.0, 1.0), LAMP, "pole")
    assert painter.shine[45, 100] == pytest.approx(LAMP)
    assert painter.lamps[0].place == pytest.approx([0, 1, 20])
    painter.face(square(3.0, 10.0), WALL, "car")
    assert not painter.shine.any()
    assert len(painter.lamps) == 1  # its light still falls on the street


def test_surfaces_do_not_shine(painter):
    painter.face(square(1.0, 10.0), np.array([SHINES, 0, 0]), "car")
    assert not painter.shine.any()
    assert painter.lamps == []


def test_a_lit_window_has_the_depth_of_its_house(painter):
    painter.face(square(2.0, 12.0), WALL, "building")
    painter.faces(square(0.5, 11.9)[None], LAMP, "building")
    assert painter.shine[65, 100] == pytest.approx(LAMP)
    assert painter.depth()[65, 100] == 12
    assert painter.lamps == []
