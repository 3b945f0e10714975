"""A pinhole camera over a street that bends: metres to pixels."""

from dataclasses import dataclass

import numpy as np

NEAR = 1.2  # metres; geometry nearer than this is cut off
FAR = 150.0  # metres; the backdrop stands here


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and what it sees.

    World axes in metres: x to the right of the road's middle, y up from the road, z along it.

    Attributes:
        width: image width in pixels.
        focal: focal length as a share of the width.
        x: position across the road.
        height: above the road.
        centre: (u, v) of the vanishing point as shares of width and height.
        bend: sideways curvature, 1/m; positive bends to the right.
        hill: vertical curvature, 1/m; positive rises.
        aspect: height / width of the image.
    """

    width: int
    focal: float
    x: float
    height: float
    centre: tuple[float, float]
    bend: float
    hill: float
    aspect: float = 0.5

    @property
    def rows(self) -> int:
        """Image height in pixels."""
        return round(self.aspect * self.width)

    def pixels_per_metre(self, z: float) -> float:
        """Size of a metre at depth z."""
        return self.focal * self.width / z

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) world points with z > 0 -> (..., 2) pixel coordinates (u right, v down)."""
        depth = points[..., 2]
        scale = self.focal * self.width / depth
        half_square = 0.5 * depth * depth
        pixels = np.empty((*depth.shape, 2))
        across = points[..., 0] - self.x + self.bend * half_square
        drop = self.height - points[..., 1] - self.hill * half_square
        pixels[..., 0] = self.centre[0] * self.width + scale * across
        pixels[..., 1] = self.centre[1] * self.rows + scale * drop
        return pixels

    def nearest_ground(self) -> float:
        """Depth of the road at the image's lower edge."""
        rows = self.rows * (1 - self.centre[1])
        return max(NEAR, 0.9 * self.focal * self.width * self.height / rows)


def clip_near(points: np.ndarray) -> np.ndarray:
    """Cuts a polygon (n, 3) at z = NEAR -> (m, 3), m = 0 if nothing is left."""
    if points[:, 2].min() >= NEAR:
        return points
    inside = points[:, 2] >= NEAR
    kept = []
    for i in range(len(points)):
        here, after = points[i], points[(i + 1) % len(points)]
        if inside[i]:
            kept.append(here)
        if inside[i] != inside[(i + 1) % len(points)]:
            share = (NEAR - here[2]) / (after[2] - here[2])
            kept.append(here + share * (after - here))
    return np.array(kept).reshape(-1, 3)
