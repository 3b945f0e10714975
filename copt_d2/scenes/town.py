"""A town's high street and its outskirts by day: what stands where, drawn as in layout.py."""

from dataclasses import replace

import numpy as np

from .camera import Camera
from .layout import LANE, Roadside, Segment, Street, Thing, place_thing, without_collisions

# share of the boundary's segments, of a street in the centre and of one outside
CENTRE = {"terrace": 0.72, "garden wall": 0.08, "railings": 0.10, "fence": 0.03, "park": 0.07}
OUTSIDE = {
    **{"terrace": 0.30, "garden wall": 0.16, "railings": 0.12, "fence": 0.10},
    **{"hedge": 0.12, "park": 0.20},
}
HEIGHTS = {
    "terrace": (7.0, 17.0),
    "garden wall": (0.9, 2.8),
    "railings": (1.1, 2.2),
    "fence": (1.2, 2.0),
    "hedge": (1.0, 2.8),
    "park": (0.0, 0.0),
}
# mean number in a scene, and as which kind of layout.py it is placed
COUNTS = {
    "parked_town_car": (2.2, "parked_car"),
    "moving_town_car": (2.4, "moving_car"),
    "distant_town_car": (2.5, "moving_car"),
    "crossing_town_car": (0.25, "crossing_car"),
    "truck": (0.12, "truck"),
    "bus": (0.3, "bus"),
    "tram": (0.03, "tram"),
    "cyclist": (0.9, "cyclist"),
    "motorcyclist": (0.12, "motorcyclist"),
    "parked_bicycle": (0.25, "parked_bicycle"),
    "lamp_column": (3.6, "street_lamp"),
    "traffic_light": (0.9, "traffic_light"),
    "traffic_sign": (2.4, "traffic_sign"),
    "bollard": (1.6, "traffic_sign"),
    "guard_rail": (1.8, "traffic_sign"),
    "winter_tree": (1.5, "tree"),
}
GROUPS = 6.5  # mean number of groups of people


def draw_town(rng: np.random.Generator, width: int, aspect: float) -> Street:
    """Draws a street that is to be seen at ``width`` pixels."""
    lanes = int(rng.choice((1, 1, 1, 2)))
    parking = float(rng.choice((0.0, 0.0, 2.2)))
    half_width = lanes * LANE * rng.uniform(0.85, 1.2) + parking
    camera = Camera(
        width=width,
        focal=rng.uniform(0.85, 1.15),
        x=(lanes - 0.5) * LANE + rng.uniform(-0.8, 1.0),
        height=rng.uniform(1.2, 1.7),
        centre=(0.5 + rng.uniform(-0.12, 0.12), rng.uniform(0.43, 0.58)),
        bend=rng.normal(0, 0.0016),
        hill=rng.normal(0, 0.0002),
        aspect=aspect,
    )
    kinds = CENTRE if rng.random() < 0.6 else OUTSIDE
    sides = [_draw_side(rng, sign, half_width, parking, kinds) for sign in (-1, 1)]
    busy = rng.uniform(0.4, 1.7)
    things = []
    for kind, (mean, like) in COUNTS.items():
        for _ in range(rng.poisson(mean * busy)):
            side = sides[int(rng.random() < 0.5)]
            thing = replace(place_thing(rng, like, side, half_width, lanes), kind=kind)
            if kind == "distant_town_car":
                thing = replace(thing, z=rng.uniform(40, 110))
            things.append(thing)
    for side in sides:
        things += _draw_row(rng, side, half_width, lanes)
    things = list(without_collisions(things))
    for _ in range(rng.poisson(GROUPS * rng.uniform(0.3, 1.8))):
        things += _draw_group(rng, sides[int(rng.random() < 0.5)], half_width, lanes)
    rails = any(thing.kind == "tram" for thing in things)
    return Street(camera, half_width, lanes, (sides[0], sides[1]), tuple(things), rails)


def _draw_side(
    rng: np.random.Generator, sign: int, half_width: float, parking: float, kinds: dict[str, float]
) -> Roadside:
    walk = ("sidewalk", rng.uniform(2.0, 5.0))
    grass = ("terrain", rng.uniform(0.8, 2.5))
    arrangements = ((walk,), (walk,), (walk,), (grass, walk) if kinds is OUTSIDE else (walk,))
    strips = arrangements[rng.integers(len(arrangements))]
    boundary = half_width + sum(width for _, width in strips)
    segments = []
    near = rng.uniform(-4.0, 3.0)
    while near < 110:
        kind = str(rng.choice(list(kinds), p=list(kinds.values())))
        far = near + rng.uniform(7.0, 24.0)
        segments.append(Segment(kind, near, far, rng.uniform(*HEIGHTS[kind])))
        near = far + (rng.uniform(3.0, 8.0) if rng.random() < 0.1 else 0.0)
    return Roadside(sign, strips, parking, tuple(segments), boundary)


def _draw_row(
    rng: np.random.Generator, side: Roadside, half_width: float, lanes: int
) -> list[Thing]:
    """Cars parked one behind the other, if any."""
    if rng.random() > (0.5 if side.parking else 0.2):
        return []
    first = replace(place_thing(rng, "parked_car", side, half_width, lanes), kind="parked_town_car")
    start, end = rng.uniform(3.5, 15), rng.uniform(25, 60)
    places = np.arange(start, end, rng.uniform(5.2, 6.5))
    return [replace(first, z=float(z), x=first.x + rng.normal(0, 0.08)) for z in places]


def _draw_group(
    rng: np.random.Generator, side: Roadside, half_width: float, lanes: int
) -> list[Thing]:
    """One to four people who stand or go together."""
    first = replace(place_thing(rng, "person", side, half_width, lanes), kind="walker")
    first = replace(first, z=5 + 60 * rng.random() ** 1.3)
    group = [first]
    for _ in range(rng.choice(4, p=(0.5, 0.3, 0.12, 0.08))):
        x, z = first.x + rng.normal(0, 0.6), max(5.0, first.z + rng.normal(0, 0.7))
        group.append(replace(first, x=x, z=z, heading=first.heading + rng.normal(0, 0.4)))
    return group
