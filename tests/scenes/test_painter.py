import numpy as np
import pytest

from copt_d2.scenes.camera import Camera
from copt_d2.scenes.painter import TRAIN_ID, Painter
from copt_d2.scenes.styles import STYLES, Light

COLOUR = np.array([200.0, 100.0, 50.0])


@pytest.fixture
def painter():
    # 100 px focal length: 10 px per metre at 10 m, principal point (50, 25)
    camera = Camera(100, 1.0, 0.0, 0.0, (0.5, 0.5), 0.0, 0.0)
    clear = Light(1, np.zeros(3), 1e9, shadow=0.5, sides=(0.5, 1.0))
    return Painter(camera, STYLES["rendered"], clear, [5])


def square(low, high, z=10.0):
    return np.array([(low, low, z), (high, low, z), (high, high, z), (low, high, z)])


def test_face_fills_image_and_labels_on_the_same_pixels(painter):
    painter.face(square(-1.0, 1.5), COLOUR, "car")
    labelled = painter.canvas[..., 3] == TRAIN_ID["car"]
    expected = np.zeros((50, 100), bool)
    expected[10:36, 40:66] = True  # rows 25 - 15 .. 25 + 10, columns 50 - 10 .. 50 + 15
    assert (labelled == expected).all()
    assert (painter.canvas[labelled][:, :3] == COLOUR).all()
    assert not painter.canvas[~labelled].any()


def test_haze_mixes_by_distance(painter):
    fog = np.array([100.0, 100.0, 100.0])
    painter.light = Light(1, fog, 10.0 / np.log(2), 0.5, (0.5, 1.0))
    assert painter.hazed(COLOUR, 10.0) == pytest.approx((COLOUR + fog) / 2)


def test_strokes_blend_and_label_their_own_pixels(painter):
    lines = np.array([[(-1.0, 0, 10), (1.0, 0, 10)], [(0, 1.0, 10), (0, 2.0, 10)]])
    behind = np.array([[(-1.0, 1.0, 1.0), (1.0, 1.0, 10)]])  # begins before the nearest depth
    painter.canvas[..., :3] = 100
    painter.strokes(np.concatenate([lines, behind]), 0.1, COLOUR, 0.5, "vegetation")
    labelled = painter.canvas[..., 3] == TRAIN_ID["vegetation"]
    expected = np.zeros((50, 100), bool)
    expected[25, 40:61] = True  # 10 px per metre, a line 1 px wide
    expected[5:16, 50] = True
    assert (labelled == expected).all()
    assert (painter.canvas[labelled][:, :3] == 100 + (COLOUR - 100) / 2).all()


def test_shadow_darkens_and_keeps_labels(painter):
    painter.canvas[:] = (200, 200, 200, TRAIN_ID["sidewalk"])
    painter.shadow(square(-1.0, 1.0), 1.0)
    dark = STYLES["rendered"].shadow_colour
    assert painter.canvas[25, 50, :3] == pytest.approx((200 + dark) / 2, abs=1)
    assert (painter.canvas[..., 3] == TRAIN_ID["sidewalk"]).all()
    assert (painter.canvas[0, 0, :3] == 200).all()


def test_veil_blends_and_relabels(painter):
    painter.canvas[:] = (0, 0, 0, TRAIN_ID["terrain"])
    painter.veil(square(-1.0, 1.0), COLOUR, 0.25, "fence")
    inside = painter.canvas[..., 3] == TRAIN_ID["fence"]
    assert inside.sum() == 21 * 21
    assert painter.canvas[25, 50, :3] == pytest.approx(COLOUR / 4, abs=1)


def test_texture_multiplies_inside_only(painter):
    painter.canvas[:] = (100, 100, 100, TRAIN_ID["building"])
    corners = square(-1.0, 1.0)[[3, 2, 1, 0]]  # top left, top right, bottom right, bottom left
    halves = np.ones((8, 8), np.float32)
    halves[:, 4:] = 1.5
    painter.texture(corners, halves, 0.5)
    assert painter.canvas[25, 43, 0] == 100
    assert painter.canvas[25, 57, 0] == 125  # half of the tile's 50 %
    assert (painter.canvas[:, 62:, :3] == 100).all()


def test_what_stands_behind_the_camera_is_not_drawn(painter):
    painter.face(square(-1.0, 1.0, z=-3.0), COLOUR, "car")
    painter.line(square(-1.0, 1.0, z=-3.0), 0.2, COLOUR, "pole")
    painter.ball(np.array([0.0, 0.0, -3.0]), (1.0, 1.0), COLOUR, "sky")
    assert not painter.canvas.any()
