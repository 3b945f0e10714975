"""Cars, trucks, buses and trams."""

from dataclasses import dataclass

import numpy as np

from .bodies import (
    Frame,
    Prism,
    across,
    box_profile,
    on_side,
    paint_prism,
    paint_shadow,
    wheel,
)
from .layout import Thing
from .painter import Painter


@dataclass(frozen=True)
class CarShape:
    """Outlines seen from the side: (l, y) from the rear bumper up and forwards, as two rows.

    Attributes:
        profile: of the body.
        windows: of the side windows.
    """

    profile: tuple[tuple[float, ...], tuple[float, ...]]
    windows: tuple[tuple[float, ...], tuple[float, ...]]


SALOON = CarShape(
    ((0, 0, 0.45, 1.0, 2.3, 3.1, 4.2, 4.3), (0.3, 0.95, 1.02, 1.43, 1.45, 1.0, 0.8, 0.3)),
    ((0.75, 1.1, 2.25, 2.85), (1.02, 1.36, 1.38, 1.02)),
)
HATCHBACK = CarShape(
    ((0, 0, 0.05, 0.4, 2.0, 2.85, 3.7, 3.8), (0.3, 0.9, 1.0, 1.48, 1.52, 1.02, 0.82, 0.3)),
    ((0.35, 0.6, 1.95, 2.6), (1.02, 1.42, 1.44, 1.02)),
)
VAN = CarShape(
    ((0, 0, 0.03, 0.15, 3.0, 3.9, 4.6, 4.7), (0.35, 1.1, 1.2, 1.95, 2.0, 1.25, 1.05, 0.35)),
    ((0.4, 0.45, 2.95, 3.55), (1.2, 1.75, 1.8, 1.2)),
)
CAR_PANES = (2, 4)  # rear window and windscreen, edges of the profiles above


def paint_car(painter: Painter, thing: Thing) -> None:
    """A saloon, a hatchback or a van."""
    model = (SALOON, HATCHBACK, VAN)[painter.shape.choice(3, p=(0.42, 0.40, 0.18))]
    stretch = painter.shape.uniform((0.94, 0.96), (1.06, 1.06))
    profile, windows = np.array(model.profile).T * stretch, np.array(model.windows).T * stretch
    length, width = profile[-1, 0], painter.shape.uniform(1.72, 1.9)
    frame = Frame(thing.x, thing.z, thing.heading, length)
    paint, glass = painter.colour("car"), painter.colour("glass")
    paint_shadow(painter, frame, width)
    _wheels(painter, frame, (0.19 * length, 0.81 * length), 0.33, width, "car")
    paint_prism(painter, frame, Prism(profile, width, CAR_PANES), paint, glass, "car")
    side = frame.near_side(painter.camera.x)
    painter.face(on_side(frame, windows, side * width / 2), glass, "car")
    _side_wheels(painter, frame, (0.19 * length, 0.81 * length), 0.33, side * width / 2, "car")
    middle = windows[1:3, 0].mean()
    pillar = np.array([(middle, windows[0, 1]), (middle, windows[1, 1])])
    painter.line(on_side(frame, pillar, side * width / 2), 0.07, 0.8 * paint, "car")
    _end_details(painter, frame, width, (profile[0, 1], profile[1, 1]), "car")


def paint_truck(painter: Painter, thing: Thing) -> None:
    """A cab and a box body."""
    body_length, height = painter.shape.uniform(4.5, 6.5), painter.shape.uniform(2.9, 3.5)
    width, length = 2.4, body_length + 2.1
    frame = Frame(thing.x, thing.z, thing.heading, length)
    glass, chassis = painter.colour("glass"), painter.colour("tyre") * 1.6
    box = Prism(box_profile(0, body_length, 0.95, height), width)
    low = Prism(box_profile(0.1, length - 0.2, 0.5, 1.0), width * 0.85)
    corners = np.array([(0, 0.5), (0, 2.55), (1.4, 2.5), (1.85, 1.6), (1.95, 0.5)], float)
    cab = Prism(corners + np.array([body_length + 0.15, 0]), width * 0.95, (2,))
    paint_shadow(painter, frame, width)
    parts = [(low, chassis), (box, painter.colour("truck")), (cab, painter.colour("cab"))]
    if np.cos(thing.heading) > 0:  # seen from behind: the cab is farther away
        parts = [parts[0], parts[2], parts[1]]
    _wheels(painter, frame, (1.2, length - 1.1), 0.48, width, "truck")
    for prism, paint in parts:
        paint_prism(painter, frame, prism, paint, glass, "truck")
    side = frame.near_side(painter.camera.x)
    start = body_length + 0.5
    window = np.array([(start, 1.55), (start, 2.3), (start + 0.95, 2.3), (start + 1.2, 1.55)])
    painter.face(on_side(frame, window, side * cab.width / 2), glass, "truck")
    axles = (1.0, 2.1, length - 1.1)
    _side_wheels(painter, frame, axles, 0.48, side * width / 2, "truck")
    _end_details(painter, frame, width, (0.5, 1.1), "truck")
    if np.cos(thing.heading) > 0.5:  # the two doors at the back
        seam = frame.world(np.array([(0, 0, 1.0), (0, 0, height - 0.1)], float))
        painter.line(seam, 0.06, chassis * 1.5, "truck")


def paint_bus(painter: Painter, thing: Thing) -> None:
    """A city bus, one body with a row of windows."""
    length, height = painter.shape.uniform(9.5, 12.0), painter.shape.uniform(2.9, 3.2)
    frame = Frame(thing.x, thing.z, thing.heading, length)
    paint_shadow(painter, frame, 2.5)
    _coach(painter, frame, 2.5, (0.35, height), painter.colour("bus"), "bus")
    side = frame.near_side(painter.camera.x)
    _side_wheels(painter, frame, (2.6, length - 2.4), 0.48, side * 1.25, "bus")
    _end_details(painter, frame, 2.5, (0.5, 1.2), "bus")


def paint_tram(painter: Painter, thing: Thing) -> None:
    """A tram of two or three coupled cars, with its current collector."""
    cars = int(painter.shape.integers(2, 4))
    paint, height = painter.colour("tram"), painter.shape.uniform(3.2, 3.5)
    whole = Frame(thing.x, thing.z, thing.heading, 8.6 * cars)
    paint_shadow(painter, whole, 2.4)
    order = range(cars) if np.cos(thing.heading) < 0 else range(cars - 1, -1, -1)
    for index in order:
        offset = index if np.cos(thing.heading) > 0 else cars - 1 - index
        frame = Frame(thing.x, thing.z + 8.6 * offset, thing.heading, 8.4)
        _coach(painter, frame, 2.4, (0.25, height), paint, "train")
        _pale_band(painter, frame, 2.4)
    roof = whole.world(np.array([(4, 0, height), (5, 0, height + 1.1), (6, 0, height)], float))
    painter.line(roof, 0.08, painter.colour("pole"), "train")
    _end_details(painter, Frame(thing.x, thing.z, thing.heading, 8.4), 2.4, (0.4, 1.2), "train")


def _pale_band(painter: Painter, frame: Frame, width: float) -> None:
    """The band below a tram's windows, on its side and its end."""
    colour = painter.colour("tram_band")
    side = frame.near_side(painter.camera.x) * width / 2
    band = box_profile(0, frame.length, 0.8, 1.28)
    painter.face(on_side(frame, band, side), colour, "train")
    end = 0.0 if np.cos(frame.heading) > 0 else frame.length
    painter.face(across(frame, end, (-width / 2, width / 2), (0.8, 1.28)), colour, "train")


def _coach(
    painter: Painter,
    frame: Frame,
    width: float,
    span: tuple[float, float],
    paint: np.ndarray,
    name: str,
) -> None:
    """A box with windows all round, a pale or dark roof line and doors."""
    low, high = span
    glass, length = painter.colour("glass"), frame.length
    prism = Prism(box_profile(0, length, low, high), width)
    paint_prism(painter, frame, prism, paint, glass, name)
    side = frame.near_side(painter.camera.x) * width / 2
    starts = np.arange(0.5, length - 1.2, 1.5)
    panes = [box_profile(start, start + 1.25, 1.35, high - 0.55) for start in starts]
    painter.faces(np.stack([on_side(frame, pane, side) for pane in panes]), glass, name)
    for start in (starts[1], starts[-2]):
        door = box_profile(start, start + 1.25, low + 0.1, high - 0.5)
        painter.face(on_side(frame, door, side), 0.8 * glass + 0.2 * paint, name)
    stripe = box_profile(0, length, high - 0.35, high)
    painter.face(on_side(frame, stripe, side), 0.75 * paint, name)
    end = 0.0 if np.cos(frame.heading) > 0 else length
    half = width / 2
    painter.face(across(frame, end, (-half + 0.2, half - 0.2), (1.4, high - 0.6)), glass, name)
    board = across(frame, end, (-half + 0.4, half - 0.4), (high - 0.5, high - 0.15))
    painter.face(board, painter.colour("off") * 0.6, name)


def _wheels(
    painter: Painter,
    frame: Frame,
    axles: tuple[float, ...],
    radius: float,
    width: float,
    name: str,
) -> None:
    """Tyres as seen from the end, below the body."""
    tyre = painter.colour("tyre")
    for axle in axles:
        for w in (-width / 2 + 0.02, width / 2 - 0.24):
            painter.face(across(frame, axle, (w, w + 0.22), (0, radius * 1.3)), tyre, name)


def _side_wheels(
    painter: Painter,
    frame: Frame,
    axles: tuple[float, ...],
    radius: float,
    w: float,
    name: str,
) -> None:
    tyre, rim = painter.colour("tyre"), painter.colour("rim")
    for axle in axles:
        painter.face(on_side(frame, wheel(axle, radius), w), tyre, name)
        inner = wheel(axle, radius * 0.58) + np.array([0, radius * 0.42])
        painter.face(on_side(frame, inner, w), rim, name)


def _end_details(
    painter: Painter, frame: Frame, width: float, span: tuple[float, float], name: str
) -> None:
    """Lamps, number plate and bumper on the end that faces the camera."""
    away = np.cos(frame.heading) > 0
    end = -0.02 if away else frame.length + 0.02
    low, high = span
    half, middle = width / 2, (low + high) / 2
    bumper = across(frame, end, (-half, half), (low, low + 0.3 * (high - low)))
    painter.face(bumper, painter.colour("tyre") * 1.5, name)
    lamp = painter.colour("tail" if away else "lamp")
    for w in (-half + 0.05, half - 0.4):
        painter.face(across(frame, end, (w, w + 0.35), (middle, high - 0.05)), lamp, name)
    plate = across(frame, end, (-0.26, 0.26), (middle - 0.08, middle + 0.06))
    painter.face(plate, painter.colour("sign_white"), name)
