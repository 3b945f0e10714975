"""What borders a street of the town: terraces with shops, brick walls, iron railings, parks."""

from itertools import pairwise

import numpy as np

from .boundary import across, paint_building, paint_fence, paint_hedge, upright
from .ground import KERB
from .layout import Roadside, Segment
from .painter import Painter
from .textures import tile
from .town_houses import paint_house
from .trees import paint_evergreen, paint_winter_tree


def paint_town_segment(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Draws one segment of a roadside, back to front."""
    if segment.far < 2.5:
        return
    if segment.kind == "terrace":
        _terrace(painter, side, segment)
        return
    _behind(painter, side, segment)
    if segment.kind == "garden wall":
        _garden_wall(painter, side, segment.near, segment.far, segment.height)
    elif segment.kind == "railings":
        _railings(painter, side, segment)
    elif segment.kind == "fence":
        paint_fence(painter, side, segment)
    elif segment.kind == "hedge":
        paint_hedge(painter, side, segment)


def _terrace(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Narrow houses side by side, each of its own colour and height, from far to near."""
    edges = [segment.near]
    while edges[-1] < segment.far - 4:
        edges.append(min(edges[-1] + painter.shape.uniform(4.5, 11.0), segment.far))
    for near, far in zip(edges[-2::-1], edges[:0:-1], strict=True):
        height = max(5.5, segment.height + painter.shape.normal(0, 1.3))
        if far < 2.5:
            continue
        paint_house(painter, side, near, far, height)


def _garden_wall(painter: Painter, side: Roadside, near: float, far: float, height: float) -> None:
    x, near = side.sign * side.boundary, max(near, 1.6)
    if far <= near:
        return
    colour, light = painter.colour("brick"), painter.light.side(-side.sign)
    painter.face(across((x, x + side.sign * 0.35), near, 0, height), colour * 0.8, "wall")
    panel = upright(x, near, far, 0, height)
    painter.face(panel, colour * light, "wall")
    if near < 45:
        painter.texture(panel, tile("brick"), painter.rng.uniform(0.5, 1.0))
    painter.face(upright(x, near, far, height - 0.12, height), colour * 1.2 * light, "wall")


def _railings(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Iron bars, sometimes on a low wall; one sees through, and the panel is labelled whole."""
    near, far = max(segment.near, 1.6), segment.far
    foot = KERB
    if painter.shape.random() < 0.5:
        foot = painter.shape.uniform(0.3, 0.7)
        _garden_wall(painter, side, near, far, foot)
    paint_bars(painter, side.sign * side.boundary, (near, far), (foot, segment.height), "iron")


def paint_bars(
    painter: Painter,
    x: float,
    span: tuple[float, float],
    rise: tuple[float, float],
    material: str,
) -> None:
    """Upright bars between two rails along the road, at ``x``, over depths ``span``."""
    (near, far), (low, high) = span, rise
    colour = painter.colour(material) * painter.light.side(-np.sign(x))
    veil = 0.2 if near < 20 else 0.45
    painter.veil(upright(x, near, far, low, high), colour, veil, "fence")
    pitch = painter.shape.uniform(0.11, 0.18)
    for start, end, step in ((near, 14.0, pitch), (max(near, 14.0), 30.0, 2 * pitch)):
        bars = np.arange(start, min(far, end), step)
        if len(bars):
            points = np.zeros((len(bars), 2, 3))
            points[..., 0], points[..., 2] = x, bars[:, None]
            points[:, 0, 1], points[:, 1, 1] = low, high
            for part in np.array_split(points, 4):
                painter.strokes(part, 0.03, colour, 0.9, "fence")
    posts = np.arange(near, far, painter.shape.uniform(1.8, 2.6))
    for z in posts:
        painter.line(np.array([(x, low, z), (x, high + 0.05, z)]), 0.07, colour, "fence")
    pieces = np.linspace(near, far, 8)
    for y in (low + 0.12, high - 0.06):
        for start, end in pairwise(pieces):
            painter.line(np.array([(x, y, start), (x, y, end)]), 0.05, colour, "fence")


def _behind(painter: Painter, side: Roadside, segment: Segment) -> None:
    """Trees and bushes, or houses set back, behind what is not a terrace."""
    near, far = max(segment.near, 2.5), segment.far
    parts = []
    if painter.shape.random() < 0.45 and far - near > 5:
        away = painter.shape.uniform(5, 14)
        set_back = Roadside(side.sign, side.strips, 0.0, (), side.boundary + away)
        house = Segment("building", near + 1, far - 1, painter.shape.uniform(5.5, 12))
        paint_building(painter, set_back, house)
    wooded = segment.kind in ("park", "hedge")
    for _ in range(painter.shape.poisson(3.2 if wooded else 1.6)):
        offset = side.boundary + painter.shape.uniform(1.2, 9.0)
        parts.append((painter.shape.uniform(near + 1, far + 1), offset, paint_winter_tree))
    for _ in range(painter.shape.poisson(2.5 if wooded else 0.8)):
        offset = side.boundary + painter.shape.uniform(0.6, 4.0)
        parts.append((painter.shape.uniform(near + 1, far + 1), offset, paint_evergreen))
    for z, offset, paint in sorted(parts, key=lambda part: -part[0]):
        size = painter.shape.uniform(0.7, 1.6) if paint is paint_winter_tree else 0.4
        paint(painter, side.sign * offset, float(z), size)
