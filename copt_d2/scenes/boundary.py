"""What borders the street: houses in rows, walls, fences, hedges, and the trees behind them."""

import numpy as np

from .furniture import paint_tree_at
from .ground import KERB
from .layout import Roadside, Segment
from .painter import Painter
from .textures import tile


def paint_segment(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Draws one segment of a roadside, back to front."""
    if segment.far < 2.5:
        return
    if segment.kind == "building":
        paint_building(painter, side, segment)
        return
    paint_behind(painter, side, segment)
    if segment.kind == "wall":
        paint_wall(painter, side, segment)
    elif segment.kind == "fence":
        paint_fence(painter, side, segment)
    elif segment.kind == "hedge":
        paint_hedge(painter, side, segment)


def upright(x: float, near: float, far: float, low: float, high: float) -> np.ndarray:
    """(4, 3) rectangle along the road: top near, top far, bottom far, bottom near."""
    return np.array([(x, high, near), (x, high, far), (x, low, far), (x, low, near)], float)


def across(x: tuple[float, float], z: float, low: float, high: float) -> np.ndarray:
    """(4, 3) rectangle that faces the camera."""
    return np.array([(x[0], high, z), (x[1], high, z), (x[1], low, z), (x[0], low, z)], float)


def paint_building(painter: Painter, side: Roadside, segment: Segment) -> None:
    """A house: roof, gable towards the camera, front with windows and a ground floor."""
    x, top = side.sign * side.boundary, segment.height
    near, far = max(segment.near, 1.6), segment.far
    back = x + side.sign * painter.shape.uniform(8, 14)
    colour = painter.colour("facade")
    front = painter.light.side(-side.sign)
    gable_light = painter.light.side(0.0) * 0.9
    roof_height = painter.shape.choice((0.0, 2.5, 4.0))
    if roof_height:
        ridge = (x + back) / 2
        roof = [(x, top, near), (x, top, far)]
        roof += [(ridge, top + roof_height, far), (ridge, top + roof_height, near)]
        painter.face(np.array(roof, float), painter.colour("roof") * front, "building")
        gable = [(x, top, near), (ridge, top + roof_height, near), (back, top, near)]
        painter.face(np.array(gable, float), colour * gable_light, "building")
    painter.face(across((x, back), near, 0, top), colour * gable_light, "building")
    facade = upright(x, near, far, 0, top)
    painter.face(facade, colour * front, "building")
    if painter.style.textured and near < 45:
        material = "brick" if painter.rng.random() < 0.5 else "plaster"
        painter.texture(facade, tile(material), painter.rng.uniform(0.5, 1.0))
        painter.texture(across((x, back), near, 0, top), tile(material), 0.8)
    _windows(painter, x, (near, far), top, front)
    _ground_floor(painter, x, (near, far), front)


def _windows(
    painter: Painter, x: float, span: tuple[float, float], top: float, light: float
) -> None:
    """Rows of windows above the ground floor, with frames where they are large enough to see."""
    floors = np.arange(3.6, top - 1.6, 3.0)
    pitch, width = painter.shape.uniform(2.0, 3.2), painter.shape.uniform(1.0, 1.5)
    bays = np.arange(span[0] + 0.8, span[1] - width - 0.3, pitch)
    if not len(floors) or not len(bays):
        return
    height = painter.shape.uniform(1.2, 1.8)
    panes = [upright(x, z, z + width, y, y + height) for z in bays for y in floors]
    stack = np.stack(panes)
    outer = stack + np.array([(0, 1, -1), (0, 1, 1), (0, -1, 1), (0, -1, -1)]) * 0.12
    if span[0] < 50:
        painter.faces(outer, painter.colour("frame") * light, "building")
    group = painter.rng.integers(0, 3, len(stack))
    for choice in range(3):
        painter.faces(stack[group == choice], painter.colour("window"), "building")


def _ground_floor(painter: Painter, x: float, span: tuple[float, float], light: float) -> None:
    """Doors, or shop fronts under a sign."""
    near, far = span
    if painter.shape.random() < 0.4:
        painter.face(upright(x, near, far, 2.7, 3.3), painter.colour("shop") * light, "building")
        starts = np.arange(near + 0.4, far - 2.6, 3.0)
        shops = [upright(x, z, z + 2.5, 0.6, 2.6) for z in starts]
        if shops:
            painter.faces(np.stack(shops), painter.colour("window"), "building")
        return
    colour = painter.colour("door") * light
    for z in np.arange(near + painter.shape.uniform(0.5, 4), far - 1.4, 7.0):
        painter.face(upright(x, z, z + 1.2, 0, 2.4), colour, "building")


def paint_behind(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Trees, or a house set back, behind what is not a building."""
    near, far = max(segment.near, 2.5), segment.far
    if painter.shape.random() < 0.35:
        set_back = Roadside(side.sign, side.strips, 0.0, (), side.boundary + 7)
        house = Segment("building", near + 1, far - 1, painter.shape.uniform(6, 13))
        paint_building(painter, set_back, house)
    count = painter.shape.integers(1, 4)
    for z in np.sort(painter.shape.uniform(near + 1, far, count))[::-1]:
        offset = side.boundary + painter.shape.uniform(1.5, 6.0)
        paint_tree_at(painter, side.sign * offset, float(z), painter.shape.uniform(0.8, 1.3))


def paint_wall(painter: Painter, side: Roadside, segment: Segment) -> None:
    """A wall of stone with its coping."""
    x, near, far = side.sign * side.boundary, max(segment.near, 1.6), segment.far
    colour = painter.colour("wall")
    light = painter.light.side(-side.sign)
    painter.face(across((x, x + side.sign * 0.4), near, 0, segment.height), colour * 0.8, "wall")
    panel = upright(x, near, far, 0, segment.height)
    painter.face(panel, colour * light, "wall")
    if painter.style.textured and near < 45:
        painter.texture(panel, tile("stone"), painter.rng.uniform(0.6, 1.0))
    for z in np.arange(near + 1, far, 4.0):
        painter.line(upright(x, z, z, 0, segment.height)[[0, 2]], 0.08, colour * 0.7, "wall")
    coping = upright(x, near, far, segment.height - 0.2, segment.height)
    painter.face(coping, colour * 1.12 * light, "wall")


def paint_fence(painter: Painter, side: Roadside, segment: Segment) -> None:
    """A fence of planks, or of wire that one sees through; both are labelled as a whole panel."""
    x, near, far = side.sign * side.boundary, max(segment.near, 1.6), segment.far
    colour = painter.colour("fence") * painter.light.side(-side.sign)
    panel = upright(x, near, far, KERB, segment.height)
    planks = painter.shape.random() < 0.5
    if planks:
        painter.face(panel, colour, "fence")
    else:
        painter.veil(panel, colour, 0.35, "fence")
    step = 0.5 if planks else 0.35
    dark = 0.72 if planks else 0.9
    for z in np.arange(near, min(far, 40.0), step if near < 20 else 3 * step):
        ends = np.array([(x, segment.height, z), (x, KERB, z)])
        painter.line(ends, 0.05, colour * dark, "fence")
    for y in (0.35, segment.height - 0.1):
        rail = np.array([(x, y, near), (x, y, (near + far) / 2), (x, y, far)])
        painter.line(rail, 0.08, colour * (1.1 if planks else 0.85), "fence")
    for z in np.arange(near, far, 2.5):
        ends = np.array([(x, segment.height + 0.1, z), (x, KERB, z)])
        painter.line(ends, 0.12, colour * 0.85, "fence")


def paint_hedge(painter: Painter, side: Roadside, segment: Segment) -> None:
    """A clipped hedge."""
    x, near, far = side.sign * side.boundary, max(segment.near, 1.6), segment.far
    colour = painter.colour("leaf")
    deep = x + side.sign * 1.2
    painter.face(across((x, deep), near, 0, segment.height), colour * 0.85, "vegetation")
    painter.face(upright(x, near, far, 0, segment.height), colour, "vegetation")
    for z in np.arange(near, min(far, 50.0), 0.7)[::-1]:
        height = segment.height + painter.shape.normal(0, 0.1)
        shade = painter.rng.uniform(0.85, 1.1)
        painter.ball(np.array([x, height - 0.15, z]), (0.5, 0.3), colour * shade, "vegetation")
