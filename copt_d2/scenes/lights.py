"""What shines: glow around lamps and windows, and the street by night in their light."""

import cv2
import numpy as np

from .layers import LayeredPainter, Positions, positions
from .painter import TRAIN_ID

# metres at which a lamp's light has fallen to a quarter, and its strength, by the lamp's class
REACH = {"pole": (6.5, 0.9), "traffic light": (1.5, 0.25)}
VEHICLE_REACH = (2.2, 0.3)
WIRE_HEIGHT = 7.0  # of the lamps above the street, which are out of the picture or too small to see
SODIUM, LED = (1.0, 0.66, 0.34), (0.86, 0.95, 1.0)
SEEN = 0.6  # of a lamp's own light, so that a lit window keeps its colour
STEP = 2  # light is computed on every second pixel


def add_glow(image: np.ndarray, shine: np.ndarray, strength: float) -> np.ndarray:
    """Adds what lamps send out and the glow that lens and air make of it.

    Args:
        image: (H, W, 3) float32 light.
        shine: (H, W, 3) float32 light of lamps, 0 elsewhere.
        strength: 1 = a clear night.
    Returns:
        (H, W, 3) float32.
    """
    size = image.shape[1::-1]
    small = cv2.resize(shine, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    sigma = size[0] / 512
    # a narrow core and a wide halo; the sigmas are in quarter pixels
    glow = 0.3 * cv2.GaussianBlur(small, None, 1.2 * sigma)
    glow += 0.4 * cv2.GaussianBlur(small, None, 5.0 * sigma)
    return np.maximum(image, np.minimum(SEEN * shine, 300)) + strength * cv2.resize(glow, size)


def night(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: the street, given as by day, in the light of its lamps."""
    sky = (painter.canvas[..., 3] == TRAIN_ID["sky"])[..., None]
    coarse = np.ascontiguousarray(painter.depth()[::STEP, ::STEP])
    light = _lamplight(painter, positions(painter.camera, coarse))
    lit = image * cv2.resize(light, image.shape[1::-1])
    return add_glow(np.where(sky, image, lit), painter.shine, 1.0)


def _lamplight(painter: LayeredPainter, world: Positions) -> np.ndarray:
    """(h, w, 3) float32 factors: how much of a day's light falls on each pixel."""
    rng = painter.rng
    town = np.array(SODIUM if rng.random() < 0.6 else LED)
    ambient = np.array([0.07, 0.08, 0.11]) * rng.uniform(0.7, 1.6) + 0.03 * town
    light = np.broadcast_to(ambient, (*world.z.shape, 3)).astype(np.float32)
    strength = rng.uniform(0.35, 0.75)
    for z in np.arange(rng.uniform(2, 18), 110, rng.uniform(18, 26)):
        place = np.array([rng.uniform(-2, 2), WIRE_HEIGHT, z])
        light += point_light(world, place, 7.0)[..., None] * (strength * town).astype(np.float32)
    for lamp in painter.lamps:
        reach, power = REACH.get(lamp.name, VEHICLE_REACH)
        colour = power * lamp.colour / lamp.colour.max()
        light += point_light(world, lamp.place, reach)[..., None] * colour.astype(np.float32)
    beam = _headlights(painter.camera.x, world) * np.float32(rng.uniform(0.25, 0.55))
    return light + beam[..., None] * np.array([1.0, 0.95, 0.85], np.float32)


def point_light(world: Positions, place: np.ndarray, reach: float) -> np.ndarray:
    """(h, w) light of a lamp, 1 at the lamp and 1/4 at ``reach`` metres."""
    x, y, z = place.astype(np.float32)
    square = (world.x - x) ** 2 + (world.y - y) ** 2 + (world.z - z) ** 2
    return (1 + square / np.float32(reach**2)) ** -2


def _headlights(camera_x: float, world: Positions) -> np.ndarray:
    """(h, w) light of the camera's own car: low, and wider with distance."""
    across = (world.x - np.float32(camera_x)) / (1.6 + 0.2 * world.z)
    low = 1 / (1 + np.exp(np.clip((world.y - 0.9) * 4, -30, 30)))
    return np.exp(-(across**2)) * low / (1 + (world.z / 13) ** 2)
