"""Trees as they stand in a town in winter: bare, evergreen, clipped by nobody."""

import numpy as np

from .painter import Painter

FORKS = 3  # boughs that each bough splits into
LEVELS = 5


def paint_winter_tree(painter: Painter, x: float, z: float, size: float) -> None:
    """A bare tree, or one that kept its leaves; ``size`` 1 is a tree of about 9 metres."""
    kind = painter.shape.random()
    if kind < 0.6:
        paint_bare_tree(painter, x, z, size)
    elif kind < 0.8:
        paint_conifer(painter, x, z, size)
    else:
        paint_evergreen(painter, x, z, size)


def paint_bare_tree(painter: Painter, x: float, z: float, size: float) -> None:
    """Boughs and twigs that one sees through; the crown is labelled as people label it, whole."""
    levels = _boughs(painter.shape, painter.shape.uniform(2.2, 3.4) * size)
    colour = painter.colour("bark")
    haze = painter.colour("twigs")
    density = painter.rng.uniform(0.12, 0.42)
    crown = np.concatenate(levels[2:])
    painter.strokes(_placed(crown, x, z), 0.75 * size, haze, density, "vegetation")
    painter.strokes(_placed(levels[-1], x, z), 1.1 * size, haze, 0.5 * density, "vegetation")
    thickness = 0.34 * size
    for depth, lines in enumerate(levels):
        opacity = (1.0, 1.0, 0.95, 0.85, 0.7, 0.55)[depth]
        shade = colour * painter.rng.uniform(0.9, 1.1)
        painter.strokes(_placed(lines, x, z), thickness, shade, opacity, "vegetation")
        thickness *= 0.55
    if painter.shape.random() < 0.25:  # ivy around the trunk
        for y in np.arange(0.3, 4.0 * size, 0.35):
            radii = painter.shape.uniform(0.3, 0.6, 2) * size
            place = np.array([x + painter.shape.normal(0, 0.12), y, z])
            painter.ball(place, tuple(radii), painter.colour("evergreen"), "vegetation")


def paint_conifer(painter: Painter, x: float, z: float, size: float) -> None:
    """A dark cone, ragged at its edge."""
    height, half = painter.shape.uniform(6, 13) * size, painter.shape.uniform(1.2, 2.6) * size
    colour = painter.colour("evergreen")
    trunk = np.array([(x, 0.0, z), (x, 0.3 * height, z)])
    painter.line(trunk, 0.35 * size, painter.colour("bark"), "vegetation")
    count = 160 if z < 25 else 60
    up = np.sort(painter.shape.uniform(0.06, 1.0, count))
    reach = half * (1 - up) ** 0.7
    across = painter.shape.uniform(-1, 1, count) * reach
    radii = painter.shape.uniform(0.1, 0.34, count) * half + 0.05
    for index in range(count):
        lit = 1 + 0.22 * painter.light.sun * across[index] / half
        shade = lit * painter.rng.uniform(0.65, 1.3)
        place = np.array([x + across[index], up[index] * height, z])
        radius = radii[index] * (1.15 - 0.6 * up[index])
        painter.ball(place, (radius, 1.2 * radius), colour * shade, "vegetation")


def paint_evergreen(painter: Painter, x: float, z: float, size: float) -> None:
    """A round crown of many small leaves, often down to the ground."""
    height = painter.shape.uniform(2.5, 8.0) * size
    low = painter.shape.choice((0.0, 0.35)) * height
    half = (height - low) * painter.shape.uniform(0.35, 0.65)
    colour = painter.colour("evergreen")
    trunk = np.array([(x, 0.0, z), (x, 0.7 * height, z)])
    painter.line(trunk, 0.28 * size, painter.colour("bark"), "vegetation")
    count = 260 if z < 25 else 90
    angle, radius = painter.shape.uniform(0, 2 * np.pi, count), painter.shape.random(count) ** 0.5
    across, up = radius * np.cos(angle) * half, radius * np.sin(angle)
    for index in np.argsort(up):
        lit = 1 + 0.2 * up[index] + 0.15 * painter.light.sun * across[index] / half
        shade = lit * painter.rng.uniform(0.6, 1.3)
        y = (low + height) / 2 + up[index] * (height - low) / 2
        place = np.array([x + across[index], y, z])
        leaf = half * painter.shape.uniform(0.07, 0.3) * (1.15 - 0.5 * radius[index])
        painter.ball(place, (leaf, 0.8 * leaf), colour * shade, "vegetation")


def _boughs(rng: np.random.Generator, trunk: float) -> list[np.ndarray]:
    """Lines (m, 2, 2) of each level, (across, up) from the foot of the trunk in metres."""
    starts, angles, lengths = np.zeros((1, 2)), rng.normal(0, 0.05, 1), np.array([trunk])
    levels = []
    spread = rng.uniform(0.32, 0.5)
    for depth in range(LEVELS + 1):
        steps = np.stack([np.sin(angles), np.cos(angles)], axis=1) * lengths[:, None]
        ends = starts + steps
        levels.append(np.stack([starts, ends], axis=1))
        forks = FORKS if depth else 4
        along = rng.uniform(0.75, 1.0, (len(starts), forks, 1))
        starts = (starts[:, None] + along * steps[:, None]).reshape(-1, 2)
        turns = np.linspace(-1.3, 1.3, forks) * spread + rng.normal(0, 0.22, (len(angles), forks))
        angles = (0.88 * angles[:, None] + turns).ravel()
        shrink = rng.uniform(0.55, 0.85, (len(lengths), forks)) * (0.95 if depth else 0.85)
        lengths = (lengths[:, None] * shrink).ravel()
    return levels


def _placed(lines: np.ndarray, x: float, z: float) -> np.ndarray:
    """(m, 2, 2) lines (across, up) -> (m, 2, 3) in the world."""
    points = np.empty((*lines.shape[:2], 3))
    points[..., 0], points[..., 1], points[..., 2] = x + lines[..., 0], lines[..., 1], z
    return points
