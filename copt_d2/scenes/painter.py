"""Draws image and labels with the same calls: a canvas of four channels, RGB and train id."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from copt_d2.data.label_spaces import CITYSCAPES_CLASSES

from .camera import Camera, clip_near
from .styles import Light, Style

SHIFT = 4  # OpenCV draws at 1/16 pixel
SCALE = 1 << SHIFT
LIMIT = 1 << 16  # pixels; far outside any image, within OpenCV's integer range

Box = tuple[tuple[float, float], tuple[float, float], float]  # centre, axes, angle; pixels

TRAIN_ID = {name: index for index, name in enumerate(CITYSCAPES_CLASSES)}


class Painter:
    """One picture in the making.

    Attributes:
        camera: from metres to pixels.
        style: materials.
        light: this picture's illumination.
        shape: random generator of all that changes labels; both styles draw the same from it.
        rng: random generator of colours and textures.
        canvas: (H, W, 4) uint8, RGB and train id.
    """

    def __init__(self, camera: Camera, style: Style, light: Light, seed: Sequence[int]) -> None:
        self.camera = camera
        self.style = style
        self.light = light
        self.shape = np.random.default_rng([*seed, 1])
        self.rng = np.random.default_rng([*seed, 2])
        self.canvas = np.zeros((camera.rows, camera.width, 4), np.uint8)

    def colour(self, material: str) -> np.ndarray:
        """(3,) float: one of the material's colours with a little jitter."""
        choices = self.style.palette[material]
        base = np.array(choices[self.rng.integers(len(choices))], float)
        gain = 1 + self.style.jitter * self.rng.standard_normal()
        return base * gain + 25 * self.style.jitter * self.rng.standard_normal(3)

    def hazed(self, colour: np.ndarray, z: float) -> np.ndarray:
        """The colour as seen through the air from depth z."""
        share = math.exp(-z / self.light.haze_length)
        return colour * share + self.light.haze_colour * (1 - share)

    def face(self, points: np.ndarray, colour: np.ndarray, name: str) -> None:
        """Fills a polygon (n, 3) in the world; ``name`` is the class."""
        points = clip_near(np.asarray(points, float))
        if len(points) < 3:
            return
        z = float(points[:, 2].sum()) / len(points)
        self._fill([_fixed_point(self.camera.project(points))], colour, z, name)

    def faces(self, points: np.ndarray, colour: np.ndarray, name: str) -> None:
        """Fills polygons (m, n, 3) that do not overlap, but none that reaches behind the camera."""
        points = points[(points[..., 2] > 1.5).all(axis=1)]
        if len(points):
            corners = [_fixed_point(pixels) for pixels in self.camera.project(points)]
            self._fill(corners, colour, float(points[..., 2].mean()), name)

    def line(self, points: np.ndarray, metres: float, colour: np.ndarray, name: str) -> None:
        """A polyline (n, 3) in the world, at least one pixel wide."""
        z = float(points[:, 2].mean())
        if points[:, 2].min() < 1.5:
            return
        width = max(1, round(metres * self.camera.pixels_per_metre(z)))
        self._stroke(_fixed_point(self.camera.project(points)), width, colour, z, name)

    def ball(
        self, point: np.ndarray, radii: tuple[float, float], colour: np.ndarray, name: str
    ) -> None:
        """An upright ellipse that faces the camera; ``radii`` (across, up) in metres."""
        z = float(point[2])
        if z < 1.5:
            return
        size = self.camera.pixels_per_metre(z)
        centre = self.camera.project(np.asarray(point, float))
        axes = (max(0.5, radii[0] * size), max(0.5, radii[1] * size))
        self._ellipse(((centre[0], centre[1]), (2 * axes[0], 2 * axes[1]), 0.0), colour, z, name)

    def veil(
        self, points: np.ndarray, colour: np.ndarray, opacity: float, name: str | None
    ) -> None:
        """Blends a colour over a polygon (n, 3) that takes the class; ``None`` = keeps its own."""
        points = clip_near(np.asarray(points, float))
        if len(points) < 3:
            return
        colour = self.hazed(colour, float(points[:, 2].mean()))
        window, inside = self._mask(self.camera.project(points))
        if inside is None:
            return
        self._blend(self.canvas[window], inside, colour, opacity, name)

    def strokes(
        self, lines: np.ndarray, metres: float, colour: np.ndarray, opacity: float, name: str
    ) -> None:
        """Blends straight lines (m, 2, 3) of one width over the picture; they take the class."""
        lines = lines[(lines[..., 2] > 1.5).all(axis=1)]
        if not len(lines):
            return
        z = float(lines[..., 2].mean())
        width = max(1, round(metres * self.camera.pixels_per_metre(z)))
        pixels = self.camera.project(lines)
        flat = pixels.reshape(-1, 2)
        spread = np.array([flat.min(axis=0) - width, flat.max(axis=0) + width])
        window = self._window(spread)
        region = self.canvas[window]
        if not region.size:
            return
        mask = np.zeros(region.shape[:2], np.uint8)
        corner = (window[1].start, window[0].start)
        shifted = list(_fixed_point(pixels - corner))
        cv2.polylines(mask, shifted, False, 1, width, cv2.LINE_8, SHIFT)
        self._blend(region, mask.astype(bool), self.hazed(colour, z), opacity, name)

    def shadow(self, points: np.ndarray, strength: float) -> None:
        """Darkens a polygon (n, 3) on the ground; labels stay."""
        self.veil(points, self.style.shadow_colour, strength * self.light.shadow, None)

    def texture(self, quad: np.ndarray, tile: np.ndarray, strength: float) -> None:
        """Multiplies a tile (h, w) float32 around 1 into a world rectangle.

        Args:
            quad: (4, 3) corners in the tile's order, clockwise from the top left.
            tile: brightness factors.
            strength: 0 = no effect, 1 = as in the tile.
        """
        if quad[:, 2].min() < 1.5:
            return
        corners = self.camera.project(quad).astype(np.float32)
        window, inside = self._mask(corners)
        if inside is None:
            return
        region = self.canvas[window]
        low = np.maximum(np.floor(corners.min(axis=0)), 0)
        height, width = tile.shape
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        warp = cv2.getPerspectiveTransform(source, (corners - low).astype(np.float32))
        size = (region.shape[1], region.shape[0])
        factor = cv2.warpPerspective(tile, warp, size, flags=cv2.INTER_LINEAR, borderValue=1.0)
        factor = 1 + strength * (factor - 1)
        factor[~inside] = 1
        region[..., :3] = np.clip(region[..., :3] * factor[..., None], 0, 255).astype(np.uint8)

    # All that is filled goes through the next three, before haze, so that a painter may keep more.

    def _fill(self, corners: list[np.ndarray], colour: np.ndarray, z: float, name: str) -> None:
        scalar = _scalar(self.hazed(colour, z), name)
        cv2.fillPoly(self.canvas, corners, scalar, cv2.LINE_8, SHIFT)

    def _stroke(
        self, corners: np.ndarray, width: int, colour: np.ndarray, z: float, name: str
    ) -> None:
        scalar = _scalar(self.hazed(colour, z), name)
        cv2.polylines(self.canvas, [corners], False, scalar, width, cv2.LINE_8, SHIFT)

    def _ellipse(self, box: Box, colour: np.ndarray, z: float, name: str) -> None:
        cv2.ellipse(self.canvas, box, _scalar(self.hazed(colour, z), name), -1, cv2.LINE_8)

    @staticmethod
    def _blend(
        region: np.ndarray, inside: np.ndarray, colour: np.ndarray, opacity: float, name: str | None
    ) -> None:
        area = region[inside].astype(np.float32)
        area[:, :3] += opacity * (colour - area[:, :3])
        if name is not None:
            area[:, 3] = TRAIN_ID[name]
        region[inside] = np.clip(area, 0, 255).astype(np.uint8)

    def _mask(self, pixels: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray | None]:
        """A polygon's bounding rows and columns, and which pixels of those lie inside."""
        window = self._window(pixels)
        region = self.canvas[window]
        if not region.size:
            return window, None
        mask = np.zeros(region.shape[:2], np.uint8)
        low = np.array([window[1].start, window[0].start])
        cv2.fillPoly(mask, [_fixed_point(pixels - low)], 1, cv2.LINE_8, SHIFT)
        return window, mask.astype(bool)

    def _window(self, pixels: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of the canvas that bound pixels (n, 2)."""
        height, width = self.canvas.shape[:2]
        low = np.clip(np.floor(pixels.min(axis=0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, (width, height)).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])


def _fixed_point(pixels: np.ndarray) -> np.ndarray:
    return np.rint(np.minimum(np.maximum(pixels, -LIMIT), LIMIT) * SCALE).astype(np.int32)


def _scalar(colour: np.ndarray, name: str) -> tuple[float, float, float, float]:
    red, green, blue = (min(max(value, 0.0), 255.0) for value in colour.tolist())
    return red, green, blue, TRAIN_ID[name]
