"""What stands in a street of the town: lamp columns, bollards, guard rails, walkers, cars."""

import numpy as np

from .bodies import Frame, Prism, across, on_side, paint_prism, paint_shadow, wheel
from .ground import KERB
from .layout import Thing
from .painter import Painter
from .town_boundary import paint_bars
from .trees import paint_winter_tree


def paint_street_tree(painter: Painter, thing: Thing) -> None:
    """A tree at the kerb."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    x = thing.x - 2.0 * painter.light.sun + 2.2 * np.cos(angles)
    ground = np.stack([x, np.full(12, KERB / 2), thing.z + 2.2 * np.sin(angles)], axis=1)
    painter.shadow(ground, 0.5)
    paint_winter_tree(painter, thing.x, thing.z, painter.shape.uniform(0.7, 1.5))


def paint_lamp_column(painter: Painter, thing: Thing) -> None:
    """A slim column, high above the street, with one or two arms."""
    colour, height = painter.colour("column"), painter.shape.uniform(5.0, 10.5)
    foot = [(thing.x, KERB, thing.z), (thing.x, KERB + 1.4, thing.z)]
    painter.line(np.array(foot), 0.2, colour, "pole")
    mast = [(thing.x, KERB + 1.4, thing.z), (thing.x, height, thing.z)]
    painter.line(np.array(mast), 0.13, colour, "pole")
    arms = (-1,) if painter.shape.random() < 0.85 else (-1, 1)
    for arm in arms:
        reach = arm * np.sign(thing.x) * painter.shape.uniform(0.4, 1.8)
        tip = np.array([thing.x + reach, height + 0.15, thing.z])
        painter.line(np.array([(thing.x, height, thing.z), tip]), 0.09, colour, "pole")
        painter.ball(tip, (0.35, 0.1), painter.colour("lamp"), "pole")


def paint_bollard(painter: Painter, thing: Thing) -> None:
    """A short post at the kerb."""
    top = painter.shape.uniform(0.8, 1.2)
    ends = np.array([(thing.x, KERB, thing.z), (thing.x, top, thing.z)])
    painter.line(ends, painter.shape.uniform(0.1, 0.2), painter.colour("column"), "pole")


def paint_guard_rail(painter: Painter, thing: Thing) -> None:
    """Bars between road and walk."""
    length = painter.shape.uniform(4, 14)
    paint_bars(painter, thing.x, (thing.z, thing.z + length), (KERB + 0.1, 1.15), "guard_rail")


def paint_walker(painter: Painter, thing: Thing) -> None:
    """Someone in outdoor clothes, seen from any side."""
    size = painter.shape.uniform(0.84, 1.08)
    broad = 0.55 + 0.45 * abs(np.cos(thing.heading))  # seen from the side one is narrow
    stride = painter.shape.uniform(0.0, 0.3) * (1.2 - broad)
    hem = painter.shape.choice((0.82, 0.78, 0.5))
    trousers, coat = painter.colour("trousers"), painter.colour("coat")

    def place(points: list[tuple[float, float]]) -> np.ndarray:
        flat = np.array(points, float) * size
        depth = np.full(len(flat), thing.z)
        return np.stack([thing.x + flat[:, 0], KERB / 2 + flat[:, 1], depth], axis=1)

    shadow = place([(-0.3, 0), (0.3, 0), (0.3, 0), (-0.3, 0)])
    shadow[2:, 2] += 0.5
    painter.shadow(shadow - np.array([0.4 * painter.light.sun, KERB / 2, 0]), 1.0)
    for sign in (-1, 1):
        hip, foot = 0.08 * sign * broad, (0.08 * broad + stride) * sign
        leg = [(hip - 0.085, 0.88), (hip + 0.085, 0.88), (foot + 0.06, 0.04), (foot - 0.06, 0.04)]
        painter.face(place(leg), trousers * (1.0 if sign < 0 else 0.85), "person")
        shoe = place([(foot - 0.07, 0.04), (foot + 0.07, 0.04)])
        painter.line(shoe, 0.08, painter.colour("tyre"), "person")
    chest, waist = 0.23 * broad, 0.18 * broad
    body = [(-chest, 1.36), (-0.07, 1.47), (0.07, 1.47), (chest, 1.36), (waist + 0.02, hem)]
    painter.face(place([*body, (-waist - 0.02, hem)]), coat, "person")
    swing = painter.shape.normal(0, 0.08)
    for sign in (-1, 1):
        arm = [(sign * chest, 1.34), (sign * (chest + 0.05) + swing, 1.08), (sign * chest, 0.86)]
        shade = 0.85 if sign == painter.light.sun else 1.1
        painter.line(place(arm), 0.11 * size, shade * coat, "person")
    if painter.shape.random() < 0.35:  # a bag
        side = painter.shape.choice((-1, 1)) * (chest + 0.06)
        bag = [(side - 0.1, 0.95), (side + 0.1, 0.95), (side + 0.1, 0.62), (side - 0.1, 0.62)]
        painter.face(place(bag), painter.colour("coat"), "person")
    painter.ball(
        place([(0, 1.59)])[0], (0.095 * size, 0.13 * size), painter.colour("skin"), "person"
    )
    hair = place([(0, 1.65 if np.cos(thing.heading) < 0 else 1.6)])[0]
    painter.ball(hair, (0.105 * size, 0.1 * size), painter.colour("hair"), "person")


# lower body and cabin from the side, (l, y) in metres for a car of length 4 and height 1.45
BODY = (
    (0, 0.28),
    (0, 0.62),
    (0.08, 0.9),
    (0.5, 0.95),
    (2.9, 0.95),
    (3.8, 0.78),
    (4, 0.55),
    (4, 0.28),
)
CABINS = (
    ((0.1, 0.92), (0.45, 1.4), (0.9, 1.45), (1.9, 1.45), (2.3, 1.36), (3.0, 0.92)),  # hatchback
    ((0.45, 0.92), (0.95, 1.36), (1.3, 1.42), (2.0, 1.42), (2.35, 1.33), (3.0, 0.92)),  # saloon
    ((0.04, 0.92), (0.15, 1.42), (0.5, 1.5), (2.0, 1.5), (2.4, 1.4), (3.05, 0.92)),  # estate
    ((0.02, 0.92), (0.05, 1.8), (0.2, 1.9), (2.4, 1.9), (2.75, 1.75), (3.4, 0.92)),  # van
)


def paint_town_car(painter: Painter, thing: Thing) -> None:
    """A car with round edges and a cabin that narrows towards the roof."""
    kind = painter.shape.choice(4, p=(0.45, 0.25, 0.18, 0.12))
    stretch = painter.shape.uniform((0.92, 0.98), (1.15, 1.08))
    body, cabin = np.array(BODY) * stretch, np.array(CABINS[kind]) * stretch
    length, width = body[:, 0].max(), painter.shape.uniform(1.62, 1.84)
    frame = Frame(thing.x, thing.z, thing.heading, length)
    paint = painter.colour("van" if kind == 3 else "car")
    glass = painter.colour("glass")
    paint_shadow(painter, frame, width)
    axles = (0.18 * length, 0.8 * length)
    for axle in axles:
        for w in (-width / 2 + 0.04, width / 2 - 0.24):
            tyre = across(frame, axle, (w, w + 0.2), (0, 0.4))
            painter.face(tyre, painter.colour("tyre"), "car")
    paint_prism(painter, frame, Prism(_rounded(body), width), paint, glass, "car")
    _cabin(painter, frame, cabin, width, paint, glass)
    side = frame.near_side(painter.camera.x) * width / 2
    for axle in axles:
        painter.face(on_side(frame, wheel(axle, 0.32), side), painter.colour("tyre"), "car")
        rim = wheel(axle, 0.2) + np.array([0, 0.12])
        painter.face(on_side(frame, rim, side), painter.colour("rim"), "car")
    sill = np.array([(axles[0] + 0.4, 0.66), (axles[1] - 0.4, 0.68)])
    painter.line(on_side(frame, sill, side), 0.03, 0.7 * paint, "car")
    _lamps(painter, frame, width, paint)


def _cabin(
    painter: Painter,
    frame: Frame,
    outline: np.ndarray,
    width: float,
    paint: np.ndarray,
    glass: np.ndarray,
) -> None:
    """Screens at both ends, the roof, and the side that faces the camera."""
    low, high = outline[:, 1].min(), outline[:, 1].max()

    def half(y: np.ndarray) -> np.ndarray:
        return width / 2 * (0.97 - 0.22 * (y - low) / (high - low))

    shown = []
    for index in range(len(outline) - 1):
        (l0, y0), (l1, y1) = outline[index : index + 2]
        corners = [(l0, -half(y0), y0), (l0, half(y0), y0), (l1, half(y1), y1), (l1, -half(y1), y1)]
        points = frame.world(np.array(corners))
        outward = frame.normal((y0 - y1, 0.0))
        middle = points.mean(axis=0)
        to_camera = np.array([painter.camera.x, painter.camera.height, 0]) - middle
        if np.array([outward[0], l1 - l0, outward[1]]) @ to_camera > 0:
            shown.append((middle[2], points, index in (0, len(outline) - 2)))
    for _, points, is_screen in sorted(shown, key=lambda face: -face[0]):
        painter.face(points, paint, "car")
        if is_screen:
            inner = points.mean(axis=0) + 0.88 * (points - points.mean(axis=0))
            painter.face(inner, glass * painter.rng.uniform(0.8, 1.6), "car")
    side = frame.near_side(painter.camera.x)
    light = painter.light.side(frame.normal((0, side))[0])
    flank = np.column_stack([outline[:, 0], side * half(outline[:, 1]), outline[:, 1]])
    painter.face(frame.world(flank), paint * light, "car")
    middle = flank.mean(axis=0)
    pane = middle + (flank - middle) * np.array([0.86, 1.0, 0.78])
    painter.face(frame.world(pane), glass, "car")
    pillar = outline[:, 0].mean()
    ends = np.array([(pillar, side * half(low), low), (pillar, side * half(high), high)])
    painter.line(frame.world(ends), 0.08, paint * light, "car")


def _lamps(painter: Painter, frame: Frame, width: float, paint: np.ndarray) -> None:
    """Lamps, number plate and the edge of the bumper on the end that faces the camera."""
    away = np.cos(frame.heading) > 0
    end, half = (-0.02, width / 2) if away else (frame.length + 0.02, width / 2)
    painter.face(across(frame, end, (-half, half), (0.28, 0.4)), painter.colour("tyre"), "car")
    low = 0.6 if away else 0.55
    for w in (-half + 0.04, half - 0.34):
        lamp = across(frame, end, (w, w + 0.3), (low, low + painter.shape.uniform(0.14, 0.3)))
        painter.face(lamp, painter.colour("tail" if away else "lamp"), "car")
    plate = across(frame, end, (-0.26, 0.26), (0.46, 0.57))
    painter.face(plate, painter.colour("sign_yellow" if away else "sign_white"), "car")
    if not away:
        painter.face(across(frame, end, (-0.4, 0.4), (0.6, 0.72)), 0.4 * paint, "car")


def _rounded(outline: np.ndarray) -> np.ndarray:
    """Cuts the corners of a closed outline (n, 2) twice (Chaikin)."""
    for _ in range(2):
        after = np.roll(outline, -1, axis=0)
        cut = np.stack([0.8 * outline + 0.2 * after, 0.2 * outline + 0.8 * after], axis=1)
        outline = cut.reshape(-1, 2)
    return outline
