import numpy as np
import pytest

from copt_d2.scenes.camera import NEAR, Camera, clip_near


def camera(**changes):
    straight = {"width": 200, "focal": 1.0, "x": 0.5, "height": 1.5, "centre": (0.5, 0.4)}
    return Camera(**{**straight, "bend": 0.0, "hill": 0.0, **changes})


def test_projects_by_similar_triangles():
    # 200 px focal length at 10 m: 20 px per metre; horizon at 0.4 * 100 rows
    pixel = camera().project(np.array([2.0, 0.5, 10.0]))
    assert pixel == pytest.approx([100 + 20 * (2.0 - 0.5), 40 + 20 * (1.5 - 0.5)])


def test_bend_and_hill_move_far_points_by_half_the_square():
    straight = camera().project(np.array([1.0, 0.0, 10.0]))
    bent = camera(bend=0.01, hill=0.002).project(np.array([1.0, 0.0, 10.0]))
    # 0.01 * 10^2 / 2 = 0.5 m to the right, 0.002 * 10^2 / 2 = 0.1 m up, at 20 px per metre
    assert bent - straight == pytest.approx([10.0, -2.0])


def test_nearest_ground_lies_just_below_the_picture():
    view = camera()
    row = view.project(np.array([0.0, 0.0, view.nearest_ground()]))[1]
    assert 100 < row < 115


def test_clip_cuts_a_triangle_at_the_near_plane():
    triangle = np.array([(0.0, 0.0, NEAR + 1), (4.0, 0.0, NEAR - 1), (0.0, 4.0, NEAR + 1)])
    expected = [(0, 0, NEAR + 1), (2, 0, NEAR), (2, 2, NEAR), (0, 4, NEAR + 1)]
    assert clip_near(triangle) == pytest.approx(np.array(expected, float))


def test_clip_drops_what_lies_behind():
    assert clip_near(np.array([(0, 0, -1), (1, 0, -1), (0, 1, -2)], float)).shape == (0, 3)
