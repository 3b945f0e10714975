"""People on foot, bicycles and motorcycles, with and without riders."""

import numpy as np

from .bodies import Frame, on_side, wheel
from .layout import Thing
from .painter import Painter


def paint_person(painter: Painter, thing: Thing) -> None:
    """Someone who stands or walks."""
    size = painter.shape.uniform(0.86, 1.08)
    stride = painter.shape.uniform(0.02, 0.32)
    frame = Frame(thing.x, thing.z, thing.heading, 0.0)
    _soft_shadow(painter, frame, 0.35)
    trousers, shirt = painter.colour("trousers"), painter.colour("shirt")
    for sign in (-1, 1):
        leg = [(0, 0.09 * sign, 0.88), (0.5 * sign * stride, 0.1 * sign, 0.45)]
        _limb(
            painter,
            frame,
            [*leg, (sign * stride, 0.1 * sign, 0.02)],
            size,
            0.17,
            trousers,
            "person",
        )
    chest = [(0, 0.21, 1.44), (0, 0.17, 0.84), (0, -0.17, 0.84), (0, -0.21, 1.44)]
    _limb(painter, frame, [(0, 0, 0.9), (0, 0, 1.38)], size, 0.3, shirt, "person")
    painter.face(frame.world(np.array(chest) * size), shirt, "person")
    for sign in (-1, 1):
        arm = [(0, 0.24 * sign, 1.4), (-0.3 * sign * stride, 0.27 * sign, 1.1)]
        _limb(painter, frame, [*arm, (0, 0.26 * sign, 0.85)], size, 0.11, 0.88 * shirt, "person")
    _head(painter, frame, (0, 0, 1.6), size, "hair", "person")


def paint_cyclist(painter: Painter, thing: Thing) -> None:
    """A rider on a bicycle."""
    frame = Frame(thing.x, thing.z, thing.heading, 1.75)
    _soft_shadow(painter, frame, 0.4)
    paint_bicycle_at(painter, frame)
    _rider(painter, frame, seat=(0.62, 0.98), hands=(1.28, 1.08), feet=(0.85, 0.28))


def paint_motorcyclist(painter: Painter, thing: Thing) -> None:
    """A rider on a motorcycle."""
    frame = Frame(thing.x, thing.z, thing.heading, 2.1)
    _soft_shadow(painter, frame, 0.5)
    paint_motorcycle_at(painter, frame)
    _rider(painter, frame, seat=(0.75, 0.88), hands=(1.45, 1.05), feet=(1.05, 0.38))


def paint_bicycle(painter: Painter, thing: Thing) -> None:
    """A parked bicycle."""
    frame = Frame(thing.x, thing.z, thing.heading, 1.75)
    _soft_shadow(painter, frame, 0.3)
    paint_bicycle_at(painter, frame)


def paint_motorcycle(painter: Painter, thing: Thing) -> None:
    """A parked motorcycle."""
    frame = Frame(thing.x, thing.z, thing.heading, 2.1)
    _soft_shadow(painter, frame, 0.4)
    paint_motorcycle_at(painter, frame)


def paint_bicycle_at(painter: Painter, frame: Frame) -> None:
    """Wheels (labelled with their spokes), frame, saddle and handlebar."""
    paint, tyre, name = painter.colour("bike"), painter.colour("tyre"), "bicycle"
    _thick_wheels(painter, frame, (0.36, 1.4), 0.36, painter.colour("spokes"), tyre, name)
    for tube in (
        ((0.36, 0.36), (0.62, 0.86), (1.22, 0.88), (0.78, 0.36), (0.36, 0.36)),
        ((0.78, 0.36), (0.58, 0.98)),
        ((1.4, 0.36), (1.2, 1.04)),
    ):
        painter.line(on_side(frame, np.array(tube), 0.0), 0.07, paint, name)
    saddle = on_side(frame, np.array([(0.46, 1.0), (0.74, 1.0)]), 0.0)
    painter.line(saddle, 0.09, tyre, name)
    bar = frame.world(np.array([(1.2, -0.3, 1.06), (1.2, 0.3, 1.06)]))
    painter.line(bar, 0.06, tyre, name)


def paint_motorcycle_at(painter: Painter, frame: Frame) -> None:
    """Fat wheels, engine block, tank, seat, fork and lamps."""
    paint, tyre, name = painter.colour("motor"), painter.colour("tyre"), "motorcycle"
    _thick_wheels(painter, frame, (0.36, 1.75), 0.34, painter.colour("rim") * 0.6, tyre, name)
    engine = np.array([(0.55, 0.28), (0.5, 0.7), (1.4, 0.7), (1.35, 0.28)])
    tank = np.array(
        [(0.15, 0.78), (0.3, 0.92), (0.95, 0.86), (1.3, 1.04), (1.5, 0.85), (1.0, 0.62)]
    )
    for w in (-0.16, 0.16):
        painter.face(on_side(frame, engine, w), painter.colour("rim") * 0.8, name)
        painter.face(on_side(frame, tank, w), paint, name)
    fork = on_side(frame, np.array([(1.75, 0.34), (1.45, 1.05)]), 0.0)
    painter.line(fork, 0.12, painter.colour("rim"), name)
    for at, material in ((0.12, "tail"), (1.6, "lamp")):
        end = np.array([(at, -0.13, 0.45), (at, 0.13, 0.45), (at, 0.11, 0.85), (at, -0.11, 0.85)])
        painter.face(frame.world(end), paint * 0.8, name)
        painter.ball(
            frame.world(np.array([at, 0.0, 0.8])), (0.1, 0.08), painter.colour(material), name
        )
    bar = frame.world(np.array([(1.42, -0.38, 1.06), (1.42, 0.38, 1.06)]))
    painter.line(bar, 0.08, tyre, name)


def _rider(
    painter: Painter,
    frame: Frame,
    seat: tuple[float, float],
    hands: tuple[float, float],
    feet: tuple[float, float],
) -> None:
    """A seated figure; points are (l, y)."""
    trousers, shirt = painter.colour("trousers"), painter.colour("shirt")
    neck = (seat[0] + 0.28, seat[1] + 0.55)
    for sign in (-1, 1):
        knee = ((seat[0] + feet[0]) / 2 + 0.3, 0.14 * sign, (seat[1] + feet[1]) / 2 + 0.12 * sign)
        leg = [(seat[0], 0.1 * sign, seat[1]), knee, (feet[0], 0.13 * sign, feet[1] + 0.1 * sign)]
        _limb(painter, frame, leg, 1.0, 0.17, trousers, "rider")
    trunk = [(seat[0], 0, seat[1]), (neck[0], 0, neck[1])]
    _limb(painter, frame, trunk, 1.0, 0.32, shirt, "rider")
    (l0, y0), (l1, y1) = seat, neck
    back = [(l0, -0.17, y0), (l0, 0.17, y0), (l1, 0.22, y1), (l1, -0.22, y1)]
    painter.face(frame.world(np.array(back)), shirt, "rider")
    for sign in (-1, 1):
        arm = [(neck[0], 0.22 * sign, neck[1] - 0.05), (hands[0], 0.28 * sign, hands[1])]
        _limb(painter, frame, arm, 1.0, 0.12, 0.88 * shirt, "rider")
    _head(painter, frame, (neck[0] + 0.1, 0, neck[1] + 0.2), 1.0, "helmet", "rider")


def _limb(
    painter: Painter,
    frame: Frame,
    points: list[tuple[float, float, float]],
    size: float,
    metres: float,
    colour: np.ndarray,
    name: str,
) -> None:
    painter.line(frame.world(np.array(points, float) * size), metres * size, colour, name)


def _head(
    painter: Painter,
    frame: Frame,
    point: tuple[float, float, float],
    size: float,
    cover: str,
    name: str,
) -> None:
    """A face below hair or a helmet."""
    centre = frame.world(np.array(point) * size)
    painter.ball(centre, (0.12 * size, 0.15 * size), painter.colour("skin"), name)
    up = np.array([0, 0.06 * size, 0])
    painter.ball(centre + up, (0.13 * size, 0.11 * size), painter.colour(cover), name)


def _thick_wheels(
    painter: Painter,
    frame: Frame,
    axles: tuple[float, float],
    radius: float,
    inside: np.ndarray,
    tyre: np.ndarray,
    name: str,
) -> None:
    """Two discs with tyres, and what one sees of them from the end."""
    for axle in axles:
        outline = wheel(axle, radius)
        painter.face(on_side(frame, outline, 0.0), inside, name)
        ring = on_side(frame, np.concatenate([outline, outline[:1]]), 0.0)
        painter.line(ring, 0.07, tyre, name)
        edge = on_side(frame, np.array([(axle, 0.0), (axle, 2 * radius)]), 0.0)
        painter.line(edge, 0.09, tyre, name)


def _soft_shadow(painter: Painter, frame: Frame, half_width: float) -> None:
    low, high = -0.2, frame.length + 0.2
    corners = [(low, -half_width, 0), (high, -half_width, 0), (high, half_width, 0)]
    ground = frame.world(np.array([*corners, (low, half_width, 0)], float))
    painter.shadow(ground - np.array([0.3 * painter.light.sun, 0, 0]), 1.0)
