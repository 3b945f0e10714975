"""Trees, street lamps, traffic lights and traffic signs."""

import numpy as np

from .ground import KERB
from .layout import Thing
from .painter import Painter


def paint_tree(painter: Painter, thing: Thing) -> None:
    """A tree at the kerb."""
    _round_shadow(painter, thing, painter.shape.uniform(1.0, 1.6))
    paint_tree_at(painter, thing.x, thing.z, painter.shape.uniform(0.75, 1.15))


def paint_tree_at(painter: Painter, x: float, z: float, size: float) -> None:
    """Trunk and crown; ``size`` 1 is a tree of about 7 metres."""
    crown = np.array([x, 4.6 * size, z])
    ends = np.array([(x, 0.0, z), (x + painter.shape.normal(0, 0.15), 4.4 * size, z)])
    painter.line(ends, 0.3 * size, painter.colour("trunk"), "vegetation")
    colour = painter.colour("leaf")
    count = 16 if z < 40 else 8
    spread = painter.shape.normal(0, 1, (count, 2)) * (0.95 * size, 0.75 * size)
    radii = painter.shape.uniform(0.55, 1.15, count) * size
    order = np.argsort(spread[:, 1])  # lower, darker leaves first
    for index in order:
        across, up = spread[index]
        lit = 1 + 0.10 * up / size + 0.07 * painter.light.sun * across / size
        shade = lit * painter.rng.uniform(0.9, 1.08)
        centre = crown + np.array([across, up, 0])
        painter.ball(centre, (radii[index], 0.85 * radii[index]), colour * shade, "vegetation")


def paint_street_lamp(painter: Painter, thing: Thing) -> None:
    """A lamp post with an arm over the road."""
    colour, height = painter.colour("pole"), painter.shape.uniform(5.5, 8.5)
    _post(painter, thing, height, 0.2, colour)
    inward = -np.sign(thing.x) * painter.shape.uniform(1.0, 2.2)
    arm = [(thing.x, height, thing.z), (thing.x + inward, height + 0.3, thing.z)]
    painter.line(np.array(arm), 0.12, colour, "pole")
    head = np.array([thing.x + inward, height + 0.22, thing.z])
    painter.ball(head, (0.4, 0.14), painter.colour("lamp"), "pole")


def paint_traffic_light(painter: Painter, thing: Thing) -> None:
    """A box of three lamps on a pole, sometimes a second one on an arm above the lane."""
    colour = painter.colour("pole")
    hanging = painter.shape.random() < 0.35
    height = painter.shape.uniform(5.0, 5.6) if hanging else painter.shape.uniform(2.9, 3.4)
    _post(painter, thing, height, 0.18, colour)
    lit = int(painter.rng.integers(3))
    if hanging:
        x = thing.x - np.sign(thing.x) * 2.6
        arm = np.array([(thing.x, height - 0.1, thing.z), (x, height - 0.1, thing.z)])
        painter.line(arm, 0.14, colour, "pole")
        _light_box(painter, x, height - 0.55, thing.z, lit)
    _light_box(painter, thing.x, min(height, 3.3) - 0.45, thing.z, lit)


def _light_box(painter: Painter, x: float, y: float, z: float, lit: int) -> None:
    points = _square(x, y, z - 0.05, 0.27, 0.66)
    painter.face(points, painter.colour("light_box"), "traffic light")
    for index, name in enumerate(("red", "amber", "green")):
        centre = np.array([x, y + 0.4 - 0.4 * index, z - 0.05])
        colour = painter.colour(name if index == lit else "off")
        painter.ball(centre, (0.16, 0.16), colour, "traffic light")


def paint_traffic_sign(painter: Painter, thing: Thing) -> None:
    """A sign on a pole: disc, triangle, square or a wide direction board."""
    height = painter.shape.uniform(2.5, 3.1)
    _post(painter, thing, height, 0.11, painter.colour("pole"))
    x, y, z = thing.x, height - 0.2, thing.z - 0.05
    kind = int(painter.shape.integers(5))
    white, red = painter.colour("sign_white"), painter.colour("sign_red")
    blue, name = painter.colour("sign_blue"), "traffic sign"
    if kind == 0:
        painter.ball(np.array([x, y, z]), (0.5, 0.5), red, name)
        painter.ball(np.array([x, y, z]), (0.36, 0.36), white, name)
    elif kind == 1:
        painter.ball(np.array([x, y, z]), (0.5, 0.5), blue, name)
        painter.face(_square(x, y, z, 0.07, 0.3), white, name)
    elif kind == 2:
        for size, colour in ((0.6, red), (0.4, white)):
            corners = [(x - size, y - 0.55 * size, z), (x + size, y - 0.55 * size, z)]
            painter.face(np.array([*corners, (x, y + 0.95 * size, z)]), colour, name)
    elif kind == 3:
        painter.face(_square(x, y, z, 0.48, 0.48), blue, name)
        painter.face(_square(x, y, z, 0.2, 0.25), white, name)
    else:
        painter.face(_square(x, y, z, 0.85, 0.4), painter.colour("sign_yellow"), name)
        painter.face(_square(x, y, z, 0.6, 0.1), 0.3 * white, name)


def _square(x: float, y: float, z: float, half_width: float, half_height: float) -> np.ndarray:
    across = np.array([-half_width, half_width, half_width, -half_width])
    up = np.array([half_height, half_height, -half_height, -half_height])
    return np.stack([x + across, y + up, np.full(4, z)], axis=1)


def _post(painter: Painter, thing: Thing, height: float, metres: float, colour: np.ndarray) -> None:
    ends = np.array([(thing.x, KERB, thing.z), (thing.x, height, thing.z)])
    painter.line(ends, metres, colour, "pole")


def _round_shadow(painter: Painter, thing: Thing, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    x = thing.x - painter.light.sun * radius + radius * np.cos(angles)
    z = thing.z + radius * np.sin(angles)
    painter.shadow(np.stack([x, np.full(12, KERB / 2), z], axis=1), 0.8)
