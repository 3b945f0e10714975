"""A painter that also keeps, for every pixel, how far it is and whether it shines by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import FAR, NEAR, Camera, clip_near
from .painter import SHIFT, TRAIN_ID, Box, Painter
from .styles import Light, Style

FLAT = ("road", "sidewalk", "terrain")
SKY_DEPTH = 1000.0  # metres
SHINES = 400.0  # a colour with a channel above this (255 = white) is a lamp, not a surface
SLOPED = 1.15  # far / near depth from which a face gets its depth pixel by pixel


@dataclass(frozen=True)
class Positions:
    """World coordinates of each pixel in metres, (H, W) float32 each; see ``Camera``."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


@dataclass(frozen=True)
class Lamp:
    """Something that shines.

    Attributes:
        place: (3,) world coordinates in metres.
        colour: (3,) RGB, 255 = white.
        name: the class that it belongs to.
    """

    place: np.ndarray
    colour: np.ndarray
    name: str


class LayeredPainter(Painter):
    """Draws as ``Painter`` does, and keeps two layers more for the weather and the night.

    Attributes:
        layers: (H, W, 4) float32: RGB that a pixel sends out by itself (0 = none, 255 = white), and
            depth in metres, which is right for what stands upright: see ``depth``.
        lamps: what shines, other than windows.
    """

    def __init__(self, camera: Camera, style: Style, light: Light, seed: Sequence[int]) -> None:
        super().__init__(camera, style, light, seed)
        self.layers = np.zeros((*self.canvas.shape[:2], 4), np.float32)
        self.layers[..., 3] = SKY_DEPTH
        self.lamps: list[Lamp] = []
        self._on_surface = False  # what is filled lies on a face, and has the depth of that

    @property
    def shine(self) -> np.ndarray:
        """(H, W, 3) float32 light of lamps and lit windows."""
        return self.layers[..., :3]

    def depth(self) -> np.ndarray:
        """(H, W) float32 metres along the road; the ground's follow from the camera."""
        flat = np.isin(self.canvas[..., 3], [TRAIN_ID[name] for name in FLAT])
        rows = ground_depth(self.camera)
        return np.where(flat, rows[:, None], self.layers[..., 3]).astype(np.float32, copy=False)

    def face(self, points: np.ndarray, colour: np.ndarray, name: str) -> None:
        """Fills a polygon (n, 3) in the world; ``name`` is the class."""
        super().face(points, colour, name)
        self._light(points, colour, name)
        if name not in FLAT and points[:, 2].max() > SLOPED * points[:, 2].min():
            self._slope(clip_near(np.asarray(points, float)))

    def faces(self, points: np.ndarray, colour: np.ndarray, name: str) -> None:
        """Fills polygons (m, n, 3) that lie on faces, such as windows."""
        self._on_surface = True
        super().faces(points, colour, name)
        self._on_surface = False

    def ball(
        self, point: np.ndarray, radii: tuple[float, float], colour: np.ndarray, name: str
    ) -> None:
        """An upright ellipse that faces the camera; ``radii`` (across, up) in metres."""
        super().ball(point, radii, colour, name)
        self._light(point[None], colour, name)

    def _light(self, points: np.ndarray, colour: np.ndarray, name: str) -> None:
        if _shines(colour) and name != "building":
            self.lamps.append(Lamp(points.mean(axis=0), colour, name))

    def _slope(self, points: np.ndarray) -> None:
        """Depth of a face that leads into the picture: there, 1 / z is linear in pixels."""
        if len(points) < 3:
            return
        pixels = self.camera.project(points)
        window, inside = self._mask(pixels)
        if inside is None:
            return
        terms = np.column_stack([pixels, np.ones(len(pixels))])
        across, down, level = np.linalg.lstsq(terms, 1 / points[:, 2], rcond=None)[0]
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        inverse = across * columns[None] + down * rows[:, None] + level
        near, far = points[:, 2].min(), points[:, 2].max()
        self.layers[window][..., 3][inside] = 1 / np.clip(inverse[inside], 1 / far, 1 / near)

    def _fill(self, corners: list[np.ndarray], colour: np.ndarray, z: float, name: str) -> None:
        super()._fill(corners, colour, z, name)
        if self._on_surface and not _shines(colour):
            return
        before = self.layers[..., 3].copy() if self._on_surface else None
        cv2.fillPoly(self.layers, corners, _layer_scalar(colour, z), cv2.LINE_8, SHIFT)
        if before is not None:
            self.layers[..., 3] = before

    def _stroke(
        self, corners: np.ndarray, width: int, colour: np.ndarray, z: float, name: str
    ) -> None:
        super()._stroke(corners, width, colour, z, name)
        scalar = _layer_scalar(colour, z)
        cv2.polylines(self.layers, [corners], False, scalar, width, cv2.LINE_8, SHIFT)

    def _ellipse(self, box: Box, colour: np.ndarray, z: float, name: str) -> None:
        super()._ellipse(box, colour, z, name)
        cv2.ellipse(self.layers, box, _layer_scalar(colour, z), -1, cv2.LINE_8)


def ground_depth(camera: Camera) -> np.ndarray:
    """(H,) float32 depth of the road at the middle of each row; ``FAR`` above it."""
    z = np.geomspace(FAR, NEAR / 2, 400)
    line = np.zeros((len(z), 3))
    line[:, 2] = z
    rows = np.maximum.accumulate(camera.project(line)[:, 1])  # a crest hides what lies behind it
    return np.interp(np.arange(camera.rows) + 0.5, rows, z).astype(np.float32)


def positions(camera: Camera, depth: np.ndarray) -> Positions:
    """Where each pixel of (H, W) depths lies in the world: the inverse of ``Camera.project``."""
    height, width = depth.shape
    scale = depth / (camera.focal * width)
    half_square = 0.5 * depth * depth
    columns = np.arange(width, dtype=np.float32)[None] + 0.5 - camera.centre[0] * width
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5 - camera.centre[1] * height
    x = camera.x + columns * scale - camera.bend * half_square
    y = camera.height - rows * scale - camera.hill * half_square
    return Positions(x.astype(np.float32), y.astype(np.float32), depth)


def _layer_scalar(colour: np.ndarray, z: float) -> tuple[float, float, float, float]:
    red, green, blue = colour.tolist() if _shines(colour) else (0.0, 0.0, 0.0)
    return red, green, blue, z


def _shines(colour: np.ndarray) -> bool:
    return max(colour.tolist()) > SHINES
