"""What stands where in a street: random draws in metres that know no colours and no pixels."""

from dataclasses import dataclass

import numpy as np

from .camera import Camera

LANE = 3.3  # metres

# share of the boundary's segments
BOUNDARIES = {"building": 0.56, "wall": 0.13, "fence": 0.15, "hedge": 0.06, "park": 0.10}

# mean number of each thing in a scene; where it stands is drawn in place_thing
COUNTS = {
    "parked_car": 3.2,
    "moving_car": 2.2,
    "crossing_car": 0.25,
    "truck": 0.30,
    "bus": 0.34,
    "tram": 0.34,
    "cyclist": 0.75,
    "motorcyclist": 0.50,
    "parked_bicycle": 1.0,
    "parked_motorcycle": 0.60,
    "person": 3.2,
    "street_lamp": 2.6,
    "traffic_light": 1.1,
    "traffic_sign": 2.0,
    "tree": 2.6,
}


@dataclass(frozen=True)
class Segment:
    """A piece of what borders the street on one side.

    Attributes:
        kind: a key of BOUNDARIES.
        near: depth at which it begins.
        far: depth at which it ends.
        height: metres above the pavement.
    """

    kind: str
    near: float
    far: float
    height: float


@dataclass(frozen=True)
class Roadside:
    """One side of the street.

    Attributes:
        sign: -1 = left, 1 = right.
        strips: (class name, width in metres) from the kerb outwards.
        parking: width of the parking lane, part of the road.
        segments: what borders it, near to far.
        boundary: distance of those from the road's middle.
    """

    sign: int
    strips: tuple[tuple[str, float], ...]
    parking: float
    segments: tuple[Segment, ...]
    boundary: float


@dataclass(frozen=True)
class Thing:
    """An object: kind (a key of COUNTS), place, heading (radians, 0 = away from the camera)."""

    kind: str
    x: float
    z: float
    heading: float


@dataclass(frozen=True)
class Street:
    """A whole scene.

    Attributes:
        camera: the viewer.
        half_width: from the road's middle to the kerb.
        lanes: lanes for each direction.
        sides: left and right.
        things: all objects, in no order.
        rails: whether tram rails lie in the road.
    """

    camera: Camera
    half_width: float
    lanes: int
    sides: tuple[Roadside, Roadside]
    things: tuple[Thing, ...]
    rails: bool


def draw_street(rng: np.random.Generator, width: int) -> Street:
    """Draws a street that is to be seen at ``width`` pixels."""
    lanes = int(rng.choice((1, 1, 2)))
    parking = float(rng.choice((0.0, 2.2)))
    half_width = lanes * LANE * rng.uniform(0.95, 1.15) + parking
    camera = Camera(
        width=width,
        focal=rng.uniform(0.85, 1.1),
        x=(lanes - 0.5) * LANE + rng.uniform(-0.4, 0.4),
        height=rng.uniform(1.35, 1.8),
        centre=(0.5 + rng.uniform(-0.1, 0.1), rng.uniform(0.38, 0.48)),
        bend=rng.normal(0, 0.0012),
        hill=rng.normal(0, 0.0003),
    )
    left = _draw_roadside(rng, -1, half_width, parking)
    right = _draw_roadside(rng, 1, half_width, parking)
    traffic = rng.uniform(0.5, 1.6)
    things = []
    for kind, mean in COUNTS.items():
        for _ in range(rng.poisson(mean * traffic)):
            side = left if rng.random() < 0.5 else right
            things.append(place_thing(rng, kind, side, half_width, lanes))
    rails = any(thing.kind == "tram" for thing in things)
    return Street(camera, half_width, lanes, (left, right), without_collisions(things), rails)


def _draw_roadside(
    rng: np.random.Generator, sign: int, half_width: float, parking: float
) -> Roadside:
    walk = ("sidewalk", rng.uniform(2.2, 4.5))
    grass = ("terrain", rng.uniform(1.2, 3.5))
    arrangements = ((walk,), (walk,), (grass, walk), (walk, grass))
    strips = arrangements[rng.integers(len(arrangements))]
    boundary = half_width + sum(width for _, width in strips)
    return Roadside(sign, strips, parking, _draw_segments(rng), boundary)


def _draw_segments(rng: np.random.Generator) -> tuple[Segment, ...]:
    heights = {
        "building": (6.0, 22.0),
        "wall": (1.6, 3.2),
        "fence": (1.2, 2.2),
        "hedge": (1.2, 3.0),
        "park": (0.0, 0.0),
    }
    segments = []
    near = rng.uniform(-2.0, 4.0)
    while near < 95:
        kind = str(rng.choice(list(BOUNDARIES), p=list(BOUNDARIES.values())))
        far = near + rng.uniform(8.0, 20.0)
        segments.append(Segment(kind, near, far, rng.uniform(*heights[kind])))
        near = far + (rng.uniform(2.0, 5.0) if rng.random() < 0.15 else 0.0)
    return tuple(segments)


def place_thing(
    rng: np.random.Generator, kind: str, side: Roadside, half_width: float, lanes: int
) -> Thing:
    """Puts one object where such objects stand; right-hand traffic."""
    pavement_start = half_width
    for name, strip_width in side.strips:
        if name == "sidewalk":
            pavement = (pavement_start, pavement_start + strip_width)
        pavement_start += strip_width
    lane = (rng.integers(lanes) + 0.5) * LANE
    walk = rng.uniform(pavement[0] + 0.5, pavement[1] - 0.4)
    edge = half_width + rng.uniform(0.35, 0.7)
    along = 0.0 if side.sign > 0 else np.pi  # traffic on the left comes towards the camera
    if kind == "parked_car":
        inside = half_width - 1.05 if side.parking else half_width + 0.2
        return Thing(kind, side.sign * inside, rng.uniform(6, 45), along)
    if kind == "moving_car":
        return Thing(kind, side.sign * lane, rng.uniform(9, 55), along)
    if kind in ("truck", "bus"):
        return Thing(kind, side.sign * lane, rng.uniform(9, 35), along)
    if kind == "tram":
        return Thing(kind, side.sign * 0.5 * LANE, rng.uniform(12, 38), along)
    if kind == "crossing_car":
        across = np.pi / 2 * side.sign
        return Thing(kind, rng.uniform(-4, 4), rng.uniform(28, 50), across)
    if kind in ("cyclist", "motorcyclist"):
        turn = along + rng.choice((0.0, 1.0, -1.0)) * rng.uniform(0.3, 1.5)
        spot = rng.uniform(half_width - side.parking - 1.6, half_width - side.parking - 0.4)
        return Thing(kind, side.sign * spot, rng.uniform(6, 22), turn)
    if kind == "parked_bicycle":
        turn = rng.uniform(0.5, np.pi - 0.5)
        return Thing(kind, side.sign * (pavement[1] - 0.9), rng.uniform(5, 18), turn)
    if kind == "parked_motorcycle":
        turn = rng.uniform(0.6, np.pi - 0.6)
        return Thing(kind, side.sign * edge, rng.uniform(6, 20), turn)
    if kind == "person":
        on_road = rng.random() < 0.15
        x = rng.uniform(-half_width, half_width) if on_road else side.sign * walk
        return Thing(kind, x, rng.uniform(6, 30), rng.uniform(0, 2 * np.pi))
    depth = {"tree": (8, 55), "street_lamp": (7, 50)}.get(kind, (7, 28))
    return Thing(kind, side.sign * edge, rng.uniform(*depth), along)


def without_collisions(things: list[Thing]) -> tuple[Thing, ...]:
    """Keeps the earlier of two vehicles that would stand in each other."""
    lengths = {"truck": 9.0, "bus": 12.5, "tram": 27.0}
    kept: list[Thing] = []
    order = sorted(things, key=lambda thing: -lengths.get(thing.kind, 0.0))
    for thing in order:
        length = lengths.get(thing.kind, 5.0 if thing.kind.endswith("car") else 1.0)
        if all(
            abs(thing.x - other.x) > (1.9 if length > 2 or other.kind in lengths else 0.6)
            or _gap(thing, length, other, lengths) > 0
            for other in kept
        ):
            kept.append(thing)
    return tuple(kept)


def _gap(thing: Thing, length: float, other: Thing, lengths: dict[str, float]) -> float:
    """Free metres along the road between two things, each of which begins at its z."""
    other_length = lengths.get(other.kind, 5.0 if other.kind.endswith("car") else 1.0)
    return max(other.z - thing.z - length, thing.z - other.z - other_length)
