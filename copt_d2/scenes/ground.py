"""Sky, far backdrop, and everything flat: road, markings, sidewalks, terrain."""

import cv2
import numpy as np

from .camera import FAR
from .layout import LANE, Roadside, Street
from .painter import TRAIN_ID, Painter

KERB = 0.13  # metres that a sidewalk lies above the road


def paint_sky(painter: Painter) -> None:
    """Fills the whole picture with sky: a gradient and clouds."""
    height, width = painter.canvas.shape[:2]
    horizon = painter.camera.centre[1] * height
    rows = int(1.1 * horizon)
    share = np.clip(np.arange(height) / (1.05 * horizon), 0, 1)[:, None] ** 1.3
    high, low = painter.colour("sky_high"), painter.colour("sky_low")
    painter.canvas[..., :3] = np.clip(high + share * (low - high), 0, 255)[:, None]
    painter.canvas[..., 3] = TRAIN_ID["sky"]
    clouds = np.zeros((rows, width), np.uint8)
    for _ in range(painter.rng.integers(2, 6)):
        u, v = painter.rng.uniform(0, width), painter.rng.uniform(0, horizon)
        for _ in range(5):
            centre = (int(u + painter.rng.normal(0, 0.07) * width), int(v))
            axes = painter.rng.uniform((0.03, 0.015), (0.11, 0.04)) * width
            cv2.ellipse(clouds, centre, tuple(axes.astype(int)), 0, 0, 360, 255, -1)
            v += painter.rng.normal(0, 0.006) * width
    if painter.style.textured:
        small = cv2.resize(clouds, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        clouds = cv2.resize(cv2.GaussianBlur(small, None, 0.0075 * width), (width, rows))
    opacity = clouds.astype(np.float32)[..., None] * (painter.rng.uniform(0.6, 0.95) / 255)
    sky = painter.canvas[:rows, :, :3]
    white = painter.colour("cloud").astype(np.float32)
    sky[:] = np.clip(sky + opacity * (white - sky), 0, 255)


def paint_backdrop(painter: Painter) -> None:
    """What closes the view: a row of far houses and a line of trees."""
    for name, material, count, height in (
        ("building", "skyline", 24, (5.0, 26.0)),
        ("vegetation", "hill", 60, (2.0, 9.0)),
    ):
        edges = np.linspace(-140, 140, count + 1)
        tops = painter.shape.uniform(*height, count)
        if name == "building":
            tops[painter.shape.random(count) < 0.3] = 0
        colour = painter.colour(material)
        for left, right, top in zip(edges[:-1], edges[1:], tops, strict=True):
            corners = [(left, -9, FAR), (right, -9, FAR), (right, top, FAR), (left, top, FAR)]
            shade = painter.rng.uniform(0.92, 1.04)
            painter.face(np.array(corners, float), colour * shade, name)


def paint_ground(painter: Painter, street: Street) -> None:
    """Road, markings and both roadsides, on top of the backdrop."""
    depths = np.geomspace(painter.camera.nearest_ground(), FAR, 16)
    for side in street.sides:
        outside = "terrain" if side.strips[-1][0] == "terrain" else "sidewalk"
        field = (side.sign * 200, side.sign * side.boundary)
        _strip(painter, depths, field, KERB, "grass", "terrain")
        yard = (side.sign * (side.boundary + 9), side.sign * side.boundary)
        _strip(painter, depths, yard, KERB, _MATERIAL[outside], outside)
        start = street.half_width
        for name, width in side.strips:
            edges = (side.sign * start, side.sign * (start + width))
            colour = _strip(painter, depths, edges, KERB, _MATERIAL[name], name)
            if name == "sidewalk":
                _slabs(painter, edges, 0.88 * colour)
            start += width
    _strip(painter, depths, (-street.half_width, street.half_width), 0.0, "asphalt", "road")
    for side in street.sides:
        _kerb(painter, depths, side.sign * street.half_width, side.strips[0][0])
    if painter.style.textured:
        _patches(painter, street)
    _markings(painter, street)
    if street.rails:
        _rails(painter)
    _building_shadows(painter, street)


_MATERIAL = {"sidewalk": "pavement", "terrain": "grass"}


def _strip(
    painter: Painter,
    depths: np.ndarray,
    edges: tuple[float, float],
    y: float,
    material: str,
    name: str,
) -> np.ndarray:
    """A band along the road between two x, in pieces that follow bend and haze -> its colour."""
    colour = painter.colour(material)
    for near, far in zip(depths[-2::-1], depths[:0:-1], strict=True):
        corners = [(edges[0], y, near), (edges[1], y, near), (edges[1], y, far), (edges[0], y, far)]
        painter.face(np.array(corners), colour, name)
    return colour


def _kerb(painter: Painter, depths: np.ndarray, x: float, name: str) -> None:
    """The kerb's upright face and stone; it counts as what lies behind it."""
    colour = painter.colour("kerb")
    stone = x + np.sign(x) * 0.15
    name = "sidewalk" if name == "terrain" else name
    for near, far in zip(depths[-2::-1], depths[:0:-1], strict=True):
        top = [(x, KERB, near), (stone, KERB, near), (stone, KERB, far), (x, KERB, far)]
        front = [(x, 0, near), (x, KERB, near), (x, KERB, far), (x, 0, far)]
        painter.face(np.array(top, float), colour, name)
        painter.face(np.array(front, float), 0.75 * colour, name)


def _slabs(painter: Painter, edges: tuple[float, float], colour: np.ndarray) -> None:
    """Joints between the sidewalk's slabs, near the camera."""
    for z in np.arange(4, 26, 1.2):
        painter.line(np.array([(edges[0], KERB, z), (edges[1], KERB, z)]), 0.02, colour, "sidewalk")


def _patches(painter: Painter, street: Street) -> None:
    """Repaired asphalt: darker and lighter rectangles."""
    for _ in range(painter.rng.integers(2, 7)):
        x = painter.rng.uniform(-street.half_width, street.half_width - 1)
        z, width = painter.rng.uniform(4, 30), painter.rng.uniform(0.5, 2.5)
        x_end = min(x + width, street.half_width)
        length = painter.rng.uniform(1, 9)
        corners = [(x, 0, z), (x_end, 0, z), (x_end, 0, z + length), (x, 0, z + length)]
        grey = np.full(3, painter.rng.uniform(30, 150))
        painter.veil(np.array(corners), grey, painter.rng.uniform(0.15, 0.4), None)


def _markings(painter: Painter, street: Street) -> None:
    colour = painter.colour("marking")
    if painter.style.textured:  # worn paint
        colour = colour * painter.rng.uniform(0.72, 1.0)
    reach = np.arange(3.0, 90.0, 6.0)
    offset = painter.shape.uniform(0, 6)
    for lane in range(-street.lanes + 1, street.lanes):
        for z in reach + offset:
            _dash(painter, lane * LANE, z, 3.0 if lane else 4.5, 0.14, colour)
    for side in street.sides:
        x = side.sign * (street.half_width - side.parking - 0.2)
        for z in np.arange(2.5, 100, 7.0):
            _dash(painter, x, z, 7.0, 0.12, colour)
    if painter.shape.random() < 0.3:
        z = painter.shape.uniform(9, 24)
        for x in np.arange(-street.half_width + 0.4, street.half_width - 0.4, 1.0):
            _dash(painter, x + 0.25, z, 3.2, 0.5, colour)


def _dash(
    painter: Painter, x: float, z: float, length: float, width: float, colour: np.ndarray
) -> None:
    left, right, end = x - width / 2, x + width / 2, z + length
    corners = np.array([(left, 0, z), (right, 0, z), (right, 0, end), (left, 0, end)])
    painter.face(corners, colour, "road")


def _rails(painter: Painter) -> None:
    steel = painter.colour("pole") * 0.7
    for middle in (-LANE / 2, LANE / 2):
        for x in (middle - 0.72, middle + 0.72):
            for z in np.geomspace(3.0, 90.0, 12):
                _dash(painter, x, z, 0.4 * z, 0.09, steel)


def _building_shadows(painter: Painter, street: Street) -> None:
    """Shadows that the sunward side throws onto the street, where the style has hard light."""
    side: Roadside = street.sides[0 if painter.light.sun < 0 else 1]
    length = painter.rng.uniform(*painter.style.shadow_length)
    for segment in side.segments:
        tip = side.sign * (side.boundary - min(length * segment.height, 14.0))
        foot = side.sign * side.boundary
        skew = 0.3 * segment.height
        near, far = segment.near, min(segment.far, 100.0)
        corners = [(foot, 0, near), (tip, 0, near + skew), (tip, 0, far + skew), (foot, 0, far)]
        painter.shadow(np.array(corners, float), 0.8)
