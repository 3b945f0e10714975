"""From a drawn picture to a photograph: surface texture, light, lens and sensor."""

import cv2
import numpy as np

from .painter import TRAIN_ID, Painter
from .styles import Film
from .textures import noise

# strength of each noise on a class's surface, relative brightness
SURFACE = {
    "road": {"grain": 0.05, "blotch": 0.06},
    "sidewalk": {"grain": 0.06, "blotch": 0.06},
    "terrain": {"grain": 0.06, "leaf": 0.08, "blotch": 0.08},
    "vegetation": {"grain": 0.04, "leaf": 0.17, "blotch": 0.08},
    "building": {"grain": 0.03, "blotch": 0.04},
    "wall": {"grain": 0.05, "blotch": 0.06},
    "fence": {"grain": 0.05, "blotch": 0.05},
    "sky": {"blotch": 0.02},
}
ELSEWHERE = {"grain": 0.02, "blotch": 0.03}
FLAT = ("road", "sidewalk", "terrain")
CELLS_PER_METRE = 30


def illuminate(painter: Painter) -> np.ndarray:
    """The painter's canvas with textured surfaces in the light of day.

    Returns:
        (H, W, 3) float32 RGB.
    """
    image = painter.canvas[..., :3].astype(np.float32)
    image *= (_surface(painter) * _illumination(painter))[..., None]
    if painter.style.sky_gain[1] != 1.0:
        sky = painter.canvas[..., 3] == TRAIN_ID["sky"]
        image[sky] *= np.float32(painter.rng.uniform(*painter.style.sky_gain))
    return image


def photograph(image: np.ndarray, film: Film, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 light -> (H, W, 3) uint8 RGB as a camera takes it."""
    return _sensor(_lens(image, rng), film, rng)


def _surface(painter: Painter) -> np.ndarray:
    """(H, W) brightness factors of the surfaces' texture, fading towards the horizon."""
    labels, rng = painter.canvas[..., 3], painter.rng
    spots = _ground_spots(painter)
    gain = np.ones(labels.shape, np.float32)
    for kind in ("grain", "leaf", "blotch"):
        strength = np.zeros(256, np.float32)
        for name, train_id in TRAIN_ID.items():
            strength[train_id] = SURFACE.get(name, ELSEWHERE).get(kind, 0.0)
        values = window(noise(kind), labels.shape, rng)
        if kind != "leaf":
            _lay_flat(values, labels, noise(kind), spots)
        gain += strength[labels] * values
    height = labels.shape[0]
    rows = np.abs(np.arange(height) / height - painter.camera.centre[1])
    fade = np.clip(rows / 0.15, 0.2, 1).astype(np.float32)[:, None]
    return 1 + fade * (gain - 1)


def _ground_spots(painter: Painter) -> tuple[int, np.ndarray, np.ndarray]:
    """First row of the ground and, from there on, the (z, x) of each pixel in noise cells."""
    camera, (height, width) = painter.camera, painter.canvas.shape[:2]
    horizon = camera.centre[1] * height
    first = int(horizon) + 2
    scale = camera.focal * width
    z = scale * camera.height / (np.arange(first, height) - horizon)
    x = (np.arange(width) - camera.centre[0] * width)[None] * (z / scale)[:, None]
    z_cells = (z * CELLS_PER_METRE + painter.rng.integers(1024)).astype(np.int32)
    x_cells = (x * CELLS_PER_METRE + painter.rng.integers(2048)).astype(np.int32)
    return first, np.broadcast_to(z_cells[:, None], x_cells.shape), x_cells


def _lay_flat(
    values: np.ndarray,
    labels: np.ndarray,
    field: np.ndarray,
    spots: tuple[int, np.ndarray, np.ndarray],
) -> None:
    """Puts the noise of flat classes into the ground plane, in place."""
    first, z_cells, x_cells = spots
    flat = np.zeros(256, bool)
    flat[[TRAIN_ID[name] for name in FLAT]] = True
    where = flat[labels[first:]]
    rows, columns = field.shape  # powers of two
    values[first:][where] = field[z_cells[where] & (rows - 1), x_cells[where] & (columns - 1)]


def window(field: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random window of a large field, wrapped where the field is too small."""
    top, left = (int(rng.integers(size)) for size in field.shape)
    rows = (top + np.arange(shape[0])) % field.shape[0]
    columns = (left + np.arange(shape[1])) % field.shape[1]
    return field[rows[:, None], columns]


def _illumination(painter: Painter) -> np.ndarray:
    """(H, W) factors: brighter towards the sun, darker in the corners."""
    height, width = painter.canvas.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = painter.rng.uniform(0.05, 0.28) * painter.light.sun
    vignette = 1 - painter.rng.uniform(0.05, 0.25) * (across**2 + down**2) / 2
    return (1 + slope * across) * (1 + painter.rng.uniform(-0.08, 0.08) * down) * vignette


def _lens(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft focus and a little glare."""
    scale = image.shape[1] / 512
    small = cv2.resize(image, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(small, None, 2.5), image.shape[1::-1])
    sharp = cv2.GaussianBlur(image, None, float(rng.uniform(0.35, 0.95)) * scale)
    share = float(rng.uniform(0.03, 0.1))
    return cv2.addWeighted(sharp, 1 - share, glow, share, 0)


def _sensor(image: np.ndarray, film: Film, rng: np.random.Generator) -> np.ndarray:
    """White balance, exposure, saturation, contrast and noise."""
    warmth = rng.normal(0, film.warmth)
    balance = np.array([1 + warmth, 1 + rng.normal(0, 0.015), 1 - warmth], np.float32)
    image = image * (balance * np.float32(rng.uniform(*film.exposure)))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + np.float32(rng.uniform(*film.saturation)) * (image - grey)
    contrast, pivot = np.float32(rng.uniform(*film.contrast)), film.pivot
    image = pivot + contrast * (image - pivot) + np.float32(rng.normal(0, 6 * pivot / 112))
    grain = noise("sensor")
    shape = (image.shape[0], image.shape[1] * 3)
    speckle = window(grain, shape, rng).reshape(image.shape)
    image += np.float32(rng.uniform(*film.noise)) * speckle
    return np.clip(image, 0, 255).astype(np.uint8)
