"""What falls between the street and the camera, and lands on the lens: rain, snow, drops."""

import cv2
import numpy as np


def rain_streaks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 with pale slanted lines, drops that fall while the shutter is open."""
    height, width = image.shape[:2]
    scale, slant = width / 512, rng.normal(0, 0.18)
    veil = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(120, 320))):
        start = rng.uniform((0, -10), (width, height))
        length = rng.uniform(5, 24) * scale
        end = start + length * np.array([slant + rng.normal(0, 0.03), 1.0])
        near = max(1, round(length / (18 * scale)))
        _line(veil, start, end, int(rng.integers(60, 200)), near)
    opacity = cv2.GaussianBlur(veil, None, 0.45 * scale).astype(np.float32)[..., None]
    return image + opacity * (np.float32(rng.uniform(0.25, 0.45) / 255) * (215 - image))


def snow_flakes(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 with flakes: many small far ones, few large blurred near ones."""
    height, width = image.shape[:2]
    scale, slant = width / 512, rng.normal(0, 0.5)
    density = rng.uniform(0.5, 1.3)
    # number, largest radius and blur in pixels of a 512 wide picture, opacity
    for count, radius, blur, opacity in ((700, 0.4, 0.5, 0.75), (130, 1.3, 0.8, 0.85)):
        image = _flakes(image, rng, int(density * count), radius * scale, blur * scale, opacity)
    veil = np.zeros((height, width), np.uint8)
    for _ in range(int(density * 14)):
        start = rng.uniform((0, 0), (width, height))
        end = start + rng.uniform(2, 7) * scale * np.array([slant, 1.0])
        _line(veil, start, end, 255, max(2, round(rng.uniform(3, 6) * scale)))
    return _blend(image, cv2.GaussianBlur(veil, None, 1.6 * scale), 0.6)


def lens_drops(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 with drops on the glass, each a small picture upside down."""
    height, width = image.shape[:2]
    image = image.copy()
    for _ in range(int(rng.integers(3, 14))):
        radius = max(2, round(rng.uniform(2.5, 8) * width / 512))
        u, v = rng.integers((radius, radius), (width - radius, height - radius))
        reach = 5 * radius
        rows, columns = slice(max(0, v - reach), v + reach), slice(max(0, u - reach), u + reach)
        size = 2 * radius + 1
        seen = cv2.resize(image[rows, columns], (size, size), interpolation=cv2.INTER_AREA)[::-1]
        disc = np.zeros((size, size), np.float32)
        cv2.circle(disc, (radius, radius), radius - 1, 1.0, -1)
        opacity = 0.8 * cv2.GaussianBlur(disc, None, 0.25 * radius)[..., None]
        # darker above and brighter below: the sky is upside down
        shade = np.linspace(0.8, 1.15, size, dtype=np.float32)[:, None, None]
        spot = image[v - radius : v - radius + size, u - radius : u - radius + size]
        opacity, seen = opacity[: len(spot), : spot.shape[1]], (seen * shade)[: len(spot)]
        spot += opacity * (seen[:, : spot.shape[1]] - spot)
    return image


def _flakes(
    image: np.ndarray,
    rng: np.random.Generator,
    count: int,
    radius: float,
    blur: float,
    opacity: float,
) -> np.ndarray:
    height, width = image.shape[:2]
    veil = np.zeros((height, width), np.uint8)
    places = rng.uniform((0, 0), (width, height), (count, 2)).astype(int)
    if radius < 1:
        veil[places[:, 1], places[:, 0]] = 255
    else:
        for u, v in places.tolist():
            cv2.circle(veil, (u, v), round(radius), 255, -1)
    return _blend(image, cv2.GaussianBlur(veil, None, blur), opacity)


def _blend(image: np.ndarray, veil: np.ndarray, opacity: float) -> np.ndarray:
    """Mixes white over the image where the veil (H, W) uint8 is."""
    share = veil.astype(np.float32)[..., None] * np.float32(opacity / 255)
    return image + share * (244 - image)


def _line(veil: np.ndarray, start: np.ndarray, end: np.ndarray, value: int, width: int) -> None:
    first, last = (tuple(int(x) for x in np.rint(point)) for point in (start, end))
    cv2.line(veil, first, last, value, width, cv2.LINE_AA)
