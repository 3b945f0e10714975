"""Fog, rain and snow over a textured street; the night is in lights.py."""

from collections.abc import Callable

import cv2
import numpy as np

from .finish import window
from .layers import FLAT, LayeredPainter, positions
from .layout import LANE
from .lights import add_glow, night
from .painter import TRAIN_ID
from .precipitation import lens_drops, rain_streaks, snow_flakes
from .textures import noise

# classes on which snow stays lying; who walks or rides shakes it off
SNOW_CATCHERS = (
    *("building", "wall", "fence", "traffic light", "traffic sign", "vegetation"),
    *("car", "truck", "bus", "train", "motorcycle"),
)
SNOW_COLOUR = np.array([232, 236, 242], np.float32)
SNOW_DEPTH = 0.14  # metres on a roof


def fog(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: near things are seen, far ones are pale, the sky is gone."""
    depth, length = painter.depth(), painter.rng.uniform(13.0, 38.0)
    image = haze(painter, image, depth, length)
    return add_glow(image, painter.shine * clearness(depth, length), 0.5)


def rain(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: a wet street that mirrors, haze, streaks, drops on the lens."""
    image = haze(painter, image, painter.depth(), painter.rng.uniform(70.0, 160.0))
    image = add_glow(image, painter.shine, 0.5)
    image = mirrored(painter, image)
    return lens_drops(rain_streaks(image, painter.rng), painter.rng)


def snow(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: wheel tracks in a white road, snow on what stands there, flakes."""
    depth = painter.depth()
    image = wheel_tracks(painter, frosted(painter, image), depth)
    image = snow_caps(painter, image, depth)
    image = haze(painter, image, depth, painter.rng.uniform(60.0, 180.0))
    image = add_glow(image, painter.shine, 0.4)
    return snow_flakes(image, painter.rng)


WEATHER: dict[str, Callable[[LayeredPainter, np.ndarray], np.ndarray]] = {
    "fog": fog,
    "night": night,
    "rain": rain,
    "snow": snow,
}


def clearness(depth: np.ndarray, length: float) -> np.ndarray:
    """(H, W, 1) share of light that comes through the air, 37 % at a depth of ``length`` metres."""
    return np.exp(depth / np.float32(-length))[..., None]


def haze(
    painter: LayeredPainter, image: np.ndarray, depth: np.ndarray, length: float
) -> np.ndarray:
    """Mixes the air's colour in by each pixel's depth; clouds keep a little of their shape."""
    air = painter.light.haze_colour + painter.rng.normal(0, 8)
    clear = clearness(depth, length)
    is_sky = (painter.canvas[..., 3] == TRAIN_ID["sky"])[..., None]
    clear = np.where(is_sky, np.float32(min(0.6, length / 200)), clear)
    return image * clear + air.astype(np.float32) * (1 - clear)


def mirrored(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """Wet ground: each column mirrors what stands next above, more so towards the horizon."""
    labels = painter.canvas[..., 3]
    height, width = labels.shape
    road, pavement = labels == TRAIN_ID["road"], labels == TRAIN_ID["sidewalk"]
    rows = np.arange(height)[:, None]
    upright = ~np.isin(labels, [TRAIN_ID[name] for name in FLAT])
    foot = np.maximum.accumulate(np.where(upright, rows, 0), axis=0)
    source = np.clip(2 * foot - rows, 0, height - 1)
    reflection = image[source, np.arange(width)[None]]
    # water is rough: reflections are drawn out downwards
    reflection = cv2.blur(reflection, (max(1, width // 170), max(3, width // 28)))
    puddles = 0.5 + 0.5 * np.clip(window(noise("blotch"), labels.shape, painter.rng), -1, 1)
    horizon = painter.camera.centre[1] * height
    grazing = np.clip(1 - (rows - horizon) / (1.3 * (height - horizon)), 0, 1).astype(np.float32)
    share = grazing * (0.3 + 0.4 * puddles) * (road + 0.5 * pavement)
    return image + share.astype(np.float32)[..., None] * (reflection - image)


def frosted(painter: LayeredPainter, image: np.ndarray) -> np.ndarray:
    """White patches in trees and hedges."""
    leaves = painter.canvas[..., 3] == TRAIN_ID["vegetation"]
    patches = window(noise("leaf"), leaves.shape, painter.rng)
    share = np.clip(0.3 + 0.3 * patches, 0, 0.8) * leaves
    return image + share[..., None] * (SNOW_COLOUR - image)


def wheel_tracks(painter: LayeredPainter, image: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Dark wet tracks where wheels run, broken by slush."""
    road = painter.canvas[..., 3] == TRAIN_ID["road"]
    world = positions(painter.camera, depth)
    lane = np.abs(world.x) % LANE - LANE / 2
    wheels = np.exp(-(((np.abs(lane) - 0.75) / np.float32(painter.rng.uniform(0.2, 0.4))) ** 2))
    slush = np.clip(0.75 + 0.3 * window(noise("blotch"), road.shape, painter.rng), 0, 1)
    share = np.float32(painter.rng.uniform(0.5, 0.85)) * wheels * slush * road
    wet = np.array([84, 86, 92], np.float32)
    return image + share[..., None] * (wet - image)


def snow_caps(painter: LayeredPainter, image: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """White upper edges: pixels just below a place where the view opens into the distance."""
    height = len(depth)
    catches = np.isin(painter.canvas[..., 3], [TRAIN_ID[name] for name in SNOW_CATCHERS])
    edge = np.zeros(depth.shape, bool)
    edge[1:] = catches[1:] & (depth[:-1] > 1.1 * depth[1:])
    thickness = SNOW_DEPTH * painter.camera.focal * painter.camera.width / depth
    caps = edge & (thickness > 0.6)
    for rows in range(1, 8):
        caps[rows:] |= edge[: height - rows] & (thickness[: height - rows] > rows + 0.5)
    opacity = cv2.GaussianBlur((caps & catches).astype(np.float32), None, 0.4)
    return image + 0.9 * opacity[..., None] * (SNOW_COLOUR - image)
