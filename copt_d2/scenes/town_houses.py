"""Houses of the town with what makes a front busy: bands, bars, pipes, shops and their goods."""

import numpy as np

from .boundary import across, upright
from .layout import Roadside
from .painter import Painter
from .textures import tile

DETAIL = 40.0  # metres to which small things are drawn


def paint_house(painter: Painter, side: Roadside, near: float, far: float, height: float) -> None:
    """A house between two depths, back to front: roof, gable, front and what is on it."""
    x, near = side.sign * side.boundary, max(near, 1.6)
    light = painter.light.side(-side.sign)
    colour = painter.colour("facade")
    _roof(painter, side, (near, far), height, colour)
    front = upright(x, near, far, 0, height)
    painter.face(front, colour * light, "building")
    if near < 45:
        material = ("brick", "brick", "plaster", "stone")[painter.rng.integers(4)]
        painter.texture(front, tile(material), painter.rng.uniform(0.3, 1.0))
    if painter.shape.random() < 0.2:
        _ribbons(painter, x, (near, far), height, light)
    else:
        _sashes(painter, x, (near, far), height, light)
    _trim(painter, x, (near, far), height, colour * light)
    if painter.shape.random() < 0.7:
        _shop(painter, side, near, far)
    elif far - near > 3:
        door = painter.shape.uniform(near + 0.5, far - 1.6)
        painter.face(upright(x, door, door + 1.1, 0, 2.3), painter.colour("door"), "building")


def _roof(
    painter: Painter,
    side: Roadside,
    span: tuple[float, float],
    height: float,
    colour: np.ndarray,
) -> None:
    """Flat, or a slope with a chimney; and the gable that looks down the street."""
    x, (near, far) = side.sign * side.boundary, span
    back = x + side.sign * painter.shape.uniform(8, 14)
    shade = colour * painter.light.side(0.0) * 0.9
    rise = painter.shape.choice((0.0, 2.2, 3.6))
    if rise:
        ridge, top = (x + back) / 2, height + rise
        slope = [(x, height, near), (x, height, far), (ridge, top, far), (ridge, top, near)]
        roof = painter.colour("roof") * painter.light.side(-side.sign)
        painter.face(np.array(slope, float), roof, "building")
        gable = [(x, height, near), (ridge, top, near), (back, height, near)]
        painter.face(np.array(gable, float), shade, "building")
        if painter.shape.random() < 0.6:
            stack = across((ridge - 0.6, ridge + 0.6), near + 0.4, height + 0.5, top + 1.6)
            painter.face(stack, painter.colour("brick") * painter.light.side(0.0), "building")
    wall = across((x, back), near, 0, height)
    painter.face(wall, shade, "building")
    if near < 45:
        painter.texture(wall, tile("brick"), painter.rng.uniform(0.3, 1.0))


def _sashes(
    painter: Painter, x: float, span: tuple[float, float], height: float, light: float
) -> None:
    """Rows of single windows with frames, bars and sills."""
    floors = np.arange(3.7, height - 1.5, painter.shape.uniform(2.6, 3.3))
    pitch, width = painter.shape.uniform(1.6, 3.0), painter.shape.uniform(0.7, 1.3)
    bays = np.arange(span[0] + painter.shape.uniform(0.4, 1.0), span[1] - width - 0.2, pitch)
    if not len(floors) or not len(bays):
        return
    tall = painter.shape.uniform(1.2, 1.9)
    panes = np.stack([upright(x, z, z + width, y, y + tall) for z in bays for y in floors])
    frame = painter.colour("frame") * light
    edge = np.array([(0, 1, -1), (0, 1, 1), (0, -1, 1), (0, -1, -1)])
    painter.faces(panes + edge * painter.shape.uniform(0.05, 0.16), frame, "building")
    _glaze(painter, panes, "window")
    if span[0] > DETAIL:
        return
    middle_low, middle_high = panes[:, 3].copy(), panes[:, 0].copy()
    middle_low[:, 2] += width / 2
    middle_high[:, 2] += width / 2
    bars = [np.stack([middle_low, middle_high], axis=1)]
    for share in (0.5,) if painter.shape.random() < 0.6 else (0.33, 0.66):
        left = panes[:, 3] + share * (panes[:, 0] - panes[:, 3])
        right = panes[:, 2] + share * (panes[:, 1] - panes[:, 2])
        bars.append(np.stack([left, right], axis=1))
    painter.strokes(np.concatenate(bars), 0.045, frame, 0.9, "building")
    sills = panes.copy()
    sills[:, :2, 1] = panes[:, 3:, 1] - 0.02
    sills[:, 2:, 1] -= 0.16
    painter.faces(sills, painter.colour("frame") * light * 0.9, "building")


def _ribbons(
    painter: Painter, x: float, span: tuple[float, float], height: float, light: float
) -> None:
    """Bands of glass along each floor, between panels."""
    near, far = span
    panel, pitch = painter.colour("frame") * light, painter.shape.uniform(0.9, 1.8)
    for y in np.arange(3.7, height - 1.8, 3.1):
        painter.face(upright(x, near, far, y - 0.9, y), panel, "building")
        starts = np.arange(near + 0.1, far - pitch, pitch)
        if len(starts):
            panes = np.stack([upright(x, z, z + pitch - 0.1, y, y + 1.8) for z in starts])
            _glaze(painter, panes, "window")


def _glaze(painter: Painter, panes: np.ndarray, material: str) -> None:
    group = painter.rng.integers(0, 4, len(panes))
    for choice in range(4):
        painter.faces(panes[group == choice], painter.colour(material), "building")


def _trim(
    painter: Painter, x: float, span: tuple[float, float], height: float, colour: np.ndarray
) -> None:
    """Cornice, bands between floors, pilasters and rain pipes."""
    near, far = span
    shade = painter.rng.uniform(0.6, 1.4)
    top = upright(x, near, far, height - painter.shape.uniform(0.2, 0.7), height)
    painter.face(top, colour * shade, "building")
    if painter.shape.random() < 0.5:
        for y in np.arange(3.3, height - 1, painter.shape.uniform(2.8, 3.4)):
            band = upright(x, near, far, y, y + painter.shape.uniform(0.12, 0.35))
            painter.face(band, colour * shade, "building")
    if painter.shape.random() < 0.25:
        for z in np.arange(near, far, painter.shape.uniform(2.0, 4.0)):
            pier = upright(x, z, min(z + 0.4, far), 0, height)
            painter.face(pier, colour * painter.rng.uniform(0.7, 1.3), "building")
    for z in painter.shape.uniform(near, far, painter.shape.integers(0, 3)):
        pipe = np.array([(x, 0.0, z), (x, height, z)])
        painter.line(pipe, 0.09, painter.colour("pipe"), "building")


def _shop(painter: Painter, side: Roadside, near: float, far: float) -> None:
    """Plate glass with goods behind it, below a board; awnings, and signs that hang out."""
    x, light = side.sign * side.boundary, painter.light.side(-side.sign)
    out = x - side.sign * 0.06
    board = painter.colour("shop") * light
    painter.face(upright(x, near, far, 0, 3.1), 0.7 * board, "building")
    bays = np.arange(near + 0.25, far - 0.9, painter.shape.uniform(1.1, 2.2))
    width = bays[1] - bays[0] - 0.15 if len(bays) > 1 else 1.0
    if len(bays):
        low = painter.shape.uniform(0.1, 0.7)
        panes = np.stack([upright(out, z, z + width, low, 2.45) for z in bays])
        _glaze(painter, panes, "shop_glass")
        if near < DETAIL:
            _goods(painter, out, (near, far), low)
    painter.face(upright(out, near + 0.1, far - 0.1, 2.5, 3.15), board, "building")
    letters = np.arange(near + 0.6, far - 0.9, painter.shape.uniform(0.3, 0.5))
    marks = [upright(out, z, z + 0.22, 2.68, 2.98) for z in letters[: len(letters) * 3 // 4]]
    if marks and painter.shape.random() < 0.8:
        painter.faces(np.stack(marks), painter.colour("lettering"), "building")
    if painter.shape.random() < 0.15:
        tip = x - side.sign * 1.2
        awning = [(x, 2.7, near + 0.3), (x, 2.7, far - 0.3), (tip, 2.25, far - 0.3)]
        awning.append((tip, 2.25, near + 0.3))
        painter.face(np.array(awning, float), painter.colour("awning"), "building")
    if painter.shape.random() < 0.4:
        _hanging_sign(painter, side, painter.shape.uniform(near, far))


def _goods(painter: Painter, x: float, span: tuple[float, float], low: float) -> None:
    """What stands in the windows, sticks to them or mirrors in them: patches of any colour."""
    count = painter.shape.poisson(2.2 * (span[1] - span[0]))
    group = painter.rng.integers(0, 6, count)
    starts = painter.shape.uniform(span[0], max(span[1] - 0.6, span[0]), count)
    feet = painter.shape.uniform(low, 2.0, count)
    sizes = painter.shape.uniform(0.1, (0.7, 0.9), (count, 2))
    patches = [
        upright(x, z, z + wide, y, min(y + tall, 2.45))
        for z, y, (wide, tall) in zip(starts, feet, sizes, strict=True)
    ]
    for choice in range(6):
        chosen = [patch for patch, g in zip(patches, group, strict=True) if g == choice]
        if chosen:
            painter.faces(np.stack(chosen), painter.colour("goods"), "building")


def _hanging_sign(painter: Painter, side: Roadside, z: float) -> None:
    """A board across the walk, as annotators count it among the signs."""
    if z < 4:
        return
    x, y = side.sign * side.boundary, painter.shape.uniform(2.7, 4.2)
    width, height = painter.shape.uniform(0.5, 1.0), painter.shape.uniform(0.4, 1.1)
    inner, outer = x - side.sign * 0.15, x - side.sign * (0.15 + width)
    board = across((inner, outer), z, y, y + height)
    painter.face(board, painter.colour("hanging_sign"), "traffic sign")
    inset = side.sign * 0.1 * width
    stripe = across((inner - inset, outer + inset), z, y + 0.35 * height, y + 0.65 * height)
    painter.face(stripe, painter.colour("lettering"), "traffic sign")
