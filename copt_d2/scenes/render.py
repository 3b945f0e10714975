"""One scene: layout, drawing from far to near, finish."""

from collections.abc import Callable, Sequence

import cv2
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
from .styles import STYLES, Style, draw_light
from .town import draw_town
from .town_boundary import paint_town_segment
from .town_things import (
    paint_bollard,
    paint_guard_rail,
    paint_lamp_column,
    paint_street_tree,
    paint_town_car,
    paint_walker,
)
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
    "parked_town_car": paint_town_car,
    "moving_town_car": paint_town_car,
    "crossing_town_car": paint_town_car,
    "distant_town_car": paint_town_car,
    "lamp_column": paint_lamp_column,
    "bollard": paint_bollard,
    "guard_rail": paint_guard_rail,
    "walker": paint_walker,
    "winter_tree": paint_street_tree,
}
_FINER = 2  # a town is drawn at so many times its size: thin things are thinner than a pixel


def render_scene(
    seed: int | Sequence[int], style: str, width: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one street scene.

    The same seed gives the same labels in all styles but "town": they differ in looks only.

    Args:
        seed: one or several non-negative integers.
        style: a key of STYLES.
        width: image width in pixels, even; the height is half of it, in a town three quarters.
    Returns:
        image (H, W, 3) uint8 RGB and labels (H, W) uint8, Cityscapes train ids 0..18.
    Raises:
        ValueError: for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(STYLES)}")
    seeds = [seed] if isinstance(seed, int) else list(seed)
    look, rng = STYLES[style], np.random.default_rng([*seeds, 0])
    street = draw_town(rng, _FINER * width, look.aspect) if look.town else draw_street(rng, width)
    light = draw_light(look, np.random.default_rng([*seeds, 3]))
    painter = (LayeredPainter if look.weather else Painter)(street.camera, look, light, seeds)
    paint_sky(painter)
    paint_backdrop(painter)
    paint_ground(painter, street)
    _paint_standing(painter, street)
    image = _finish(painter) if look.textured else painter.canvas[..., :3].copy()
    return image, painter.canvas[:: _step(look), :: _step(look), 3].copy()


def _finish(painter: Painter) -> np.ndarray:
    """Texture, light, weather and the camera's faults."""
    image = illuminate(painter)
    if isinstance(painter, LayeredPainter):
        image = WEATHER[painter.style.weather](painter, image)
    step = _step(painter.style)
    if step > 1:
        image = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    return photograph(image, painter.style.film, painter.rng)


def _step(look: Style) -> int:
    return _FINER if look.town else 1


def _paint_standing(painter: Painter, street: Street) -> None:
    """All that stands upright, from far to near.

    A segment counts from its far end: what stands before it in the street comes later.
    """
    parts: list[tuple[float, Callable[[], None]]] = []
    paint = paint_town_segment if painter.style.town else paint_segment
    for side in street.sides:
        for segment in side.segments:
            parts.append((segment.far, lambda a=side, b=segment: paint(painter, a, b)))
    for thing in street.things:
        parts.append((thing.z, lambda a=thing: _PAINT[a.kind](painter, a)))
    for _, draw in sorted(parts, key=lambda part: -part[0]):
        draw()
