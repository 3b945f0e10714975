"""Grey texture tiles: brightness factors around 1, made once per process from fixed seeds."""

from functools import cache

import cv2
import numpy as np

SIZE = 256  # side of a tile in its own pixels


@cache
def tile(material: str) -> np.ndarray:
    """(256, 256) float32 factors of "brick", "plaster" or "stone"; read-only.

    Raises:
        ValueError: for another name.
    """
    makers = {"brick": _brick, "plaster": _plaster, "stone": _stone}
    if material not in makers:
        raise ValueError(f"no texture {material!r}; there are {', '.join(makers)}")
    factors = makers[material]().astype(np.float32)
    factors.setflags(write=False)
    return factors


@cache
def noise(kind: str) -> np.ndarray:
    """(1024, 2048) float32 noise, deviation 1: "grain", "leaf", "blotch", "sensor"; read-only.

    Raises:
        ValueError: for another name.
    """
    scales = {"grain": (0.7, 1.8), "leaf": (1.0, 2.2), "blotch": (14.0, 40.0), "sensor": (0.0,)}
    if kind not in scales:
        raise ValueError(f"no noise {kind!r}; there are {', '.join(scales)}")
    rng = np.random.default_rng(sum(kind.encode()))
    total = sum(_smooth(rng, (1024, 2048), sigma) for sigma in scales[kind])
    total /= total.std()
    total.setflags(write=False)
    return total


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Normal noise of deviation 1, blurred on a coarser grid where that looks the same."""
    step = max(1, int(sigma / 3))
    coarse = rng.standard_normal((shape[0] // step, shape[1] // step), dtype=np.float32)
    if sigma:
        coarse = cv2.GaussianBlur(coarse, None, sigma / step)
    full = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return full / full.std()


def _brick() -> np.ndarray:
    rng = np.random.default_rng(11)
    rows, columns = 64, 32
    bricks = 1 + 0.09 * rng.standard_normal((rows, columns))
    factors = np.kron(bricks, np.ones((SIZE // rows, SIZE // columns)))
    factors[::4] *= 1.14  # mortar
    return factors * _stains(rng, 0.08)


def _plaster() -> np.ndarray:
    rng = np.random.default_rng(12)
    streaks = _smooth(rng, (1, SIZE), 4.0) * np.linspace(1, 0.2, SIZE)[:, None]
    return (1 + 0.05 * rng.standard_normal((SIZE, SIZE)) + 0.07 * streaks) * _stains(rng, 0.1)


def _stone() -> np.ndarray:
    rng = np.random.default_rng(13)
    rows, columns = 8, 32
    blocks = 1 + 0.08 * rng.standard_normal((rows, columns))
    factors = np.kron(blocks, np.ones((SIZE // rows, SIZE // columns)))
    factors[:: SIZE // rows] *= 0.82
    factors[:, :: SIZE // columns] *= 0.84
    return factors * _stains(rng, 0.12)


def _stains(rng: np.random.Generator, strength: float) -> np.ndarray:
    return 1 + strength * _smooth(rng, (SIZE, SIZE), 18.0)
