"""One scene: layout, drawing from far to near, finish."""

from collections.abc import Callable, Sequence

import numpy as np

from .boundary import paint_segment
from .finish import illuminate, photograph
from .furniture import paint_street_lamp, paint_traffic_light, paint_traffic_sign, paint_tree
from .ground import paint_backdrop, paint_ground, paint_sky
from .layers import LayeredPainter
from .layout import Street, Thing, draw_street
from .painter import Painter
from .people import (
    paint_bicycle,
    paint_cyclist,
    paint_motorcycle,
    paint_motorcyclist,
    paint_person,
)
from .styles import STYLES, draw_light
from .vehicles import paint_bus, paint_car, paint_tram, paint_truck
from .weather import WEATHER

_PAINT: dict[str, Callable[[Painter, Thing], None]] = {
    "parked_car": paint_car,
    "moving_car": paint_car,
    "crossing_car": paint_car,
    "truck": paint_truck,
    "bus": paint_bus,
    "tram": paint_tram,
    "cyclist": paint_cyclist,
    "motorcyclist": paint_motorcyclist,
    "parked_bicycle": paint_bicycle,
    "parked_motorcycle": paint_motorcycle,
    "person": paint_person,
    "street_lamp": paint_street_lamp,
    "traffic_light": paint_traffic_light,
    "traffic_sign": paint_traffic_sign,
    "tree": paint_tree,
}


def render_scene(
    seed: int | Sequence[int], style: str, width: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one street scene.

    The same seed gives the same labels in all styles: they differ in looks only.

    Args:
        seed: one or several non-negative integers.
        style: a key of STYLES.
        width: image width in pixels, even; the height is half of it.
    Returns:
        image (H, W, 3) uint8 RGB and labels (H, W) uint8, Cityscapes train ids 0..18.
    Raises:
        ValueError: for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(STYLES)}")
    seeds = [seed] if isinstance(seed, int) else list(seed)
    street = draw_street(np.random.default_rng([*seeds, 0]), width)
    look = STYLES[style]
    light = draw_light(look, np.random.default_rng([*seeds, 3]))
    painter = (LayeredPainter if look.weather else Painter)(street.camera, look, light, seeds)
    paint_sky(painter)
    paint_backdrop(painter)
    paint_ground(painter, street)
    _paint_standing(painter, street)
    image = _finish(painter) if look.textured else painter.canvas[..., :3].copy()
    return image, painter.canvas[..., 3].copy()


def _finish(painter: Painter) -> np.ndarray:
    """Texture, light, weather and the camera's faults."""
    image = illuminate(painter)
    if isinstance(painter, LayeredPainter):
        image = WEATHER[painter.style.weather](painter, image)
    return photograph(image, painter.style.film, painter.rng)


def _paint_standing(painter: Painter, street: Street) -> None:
    """All that stands upright, from far to near.

    A segment counts from its far end: what stands before it in the street comes later.
    """
    parts: list[tuple[float, Callable[[], None]]] = []
    for side in street.sides:
        for segment in side.segments:
            parts.append((segment.far, lambda a=side, b=segment: paint_segment(painter, a, b)))
    for thing in street.things:
        parts.append((thing.z, lambda a=thing: _PAINT[a.kind](painter, a)))
    for _, paint in sorted(parts, key=lambda part: -part[0]):
        paint()
