"""Solid bodies for vehicles: side profiles pulled across a width, turned to any heading."""

from dataclasses import dataclass

import numpy as np

from .painter import Painter


@dataclass(frozen=True)
class Frame:
    """A vehicle's own axes: l forwards from its rear end, w to its right, y up; metres.

    Attributes:
        x: world position of the end that is nearest to the camera, its middle.
        z: the same, depth.
        heading: 0 = away from the camera, pi = towards it; pi/2 = to the right.
        length: of the vehicle.
    """

    x: float
    z: float
    heading: float
    length: float

    def world(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points (l, w, y) -> (..., 3) world points (x, y, z)."""
        sine, cosine = np.sin(self.heading), np.cos(self.heading)
        middle = points[..., 0] - self.length / 2
        reach = abs(cosine) * self.length / 2
        x = self.x + middle * sine + points[..., 1] * cosine
        z = self.z + reach + middle * cosine - points[..., 1] * sine
        return np.stack([x, points[..., 2], z], axis=-1)

    def normal(self, direction: tuple[float, float]) -> np.ndarray:
        """(x, z) world direction of a horizontal (l, w) direction."""
        sine, cosine = np.sin(self.heading), np.cos(self.heading)
        forwards, right = direction
        return np.array([forwards * sine + right * cosine, forwards * cosine - right * sine])

    def near_side(self, camera_x: float) -> int:
        """1 if the right side (w > 0) faces the camera, else -1."""
        middle = self.world(np.array([self.length / 2, 0.0, 0.0]))
        to_camera = np.array([camera_x - middle[0], -middle[2]])
        return 1 if self.normal((0, 1)) @ to_camera > 0 else -1


@dataclass(frozen=True)
class Prism:
    """A body with one side profile.

    Attributes:
        profile: (n, 2) corners (l, y), upwards at the rear, then forwards.
        width: metres.
        panes: indices i of the profile's edges (corner i to i + 1) that are glass.
    """

    profile: np.ndarray
    width: float
    panes: tuple[int, ...] = ()


def paint_prism(
    painter: Painter, frame: Frame, prism: Prism, paint: np.ndarray, glass: np.ndarray, name: str
) -> None:
    """Draws the edges' faces that look at the camera from far to near, then the near side."""
    half, count = prism.width / 2, len(prism.profile)
    shown = []
    for i in range(count):
        (l0, y0), (l1, y1) = prism.profile[i], prism.profile[(i + 1) % count]
        corners = np.array([(l0, -half, y0), (l0, half, y0), (l1, half, y1), (l1, -half, y1)])
        points = frame.world(corners)
        outward = frame.normal((y0 - y1, 0.0))
        normal = np.array([outward[0], l1 - l0, outward[1]])
        middle = points.mean(axis=0)
        to_camera = np.array([painter.camera.x, painter.camera.height, 0]) - middle
        if normal @ to_camera > 0:
            upward = normal[1] / (np.linalg.norm(normal) + 1e-9)
            flat_light = painter.light.side(normal[0] / (np.linalg.norm(normal) + 1e-9))
            light = flat_light * (1 - max(upward, 0)) + 1.12 * max(upward, 0)
            colour = glass if i in prism.panes else paint * light
            shown.append((middle[2], points, colour))
    for _, points, colour in sorted(shown, key=lambda face: -face[0]):
        painter.face(points, colour, name)
    side = frame.near_side(painter.camera.x)
    light = painter.light.side(frame.normal((0, side))[0])
    painter.face(on_side(frame, prism.profile, side * half), paint * light, name)


def on_side(frame: Frame, outline: np.ndarray, w: float) -> np.ndarray:
    """(n, 2) points (l, y) on the plane at ``w`` -> (n, 3) world points."""
    outline = np.asarray(outline, float)
    return frame.world(np.stack([outline[:, 0], np.full(len(outline), w), outline[:, 1]], axis=1))


def across(
    frame: Frame, along: float, w: tuple[float, float], y: tuple[float, float]
) -> np.ndarray:
    """(4, 3) upright rectangle across the vehicle at ``along`` from its rear."""
    (w0, w1), (y0, y1) = w, y
    return frame.world(
        np.array([(along, w0, y0), (along, w1, y0), (along, w1, y1), (along, w0, y1)], float)
    )


def box_profile(start: float, end: float, low: float, high: float) -> np.ndarray:
    """(4, 2) profile of a box: edges are rear, top, front, bottom."""
    return np.array([(start, low), (start, high), (end, high), (end, low)], float)


def wheel(along: float, radius: float, corners: int = 14) -> np.ndarray:
    """(n, 2) outline (l, y) of a wheel that stands on the ground."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([along + radius * np.cos(angles), radius + radius * np.sin(angles)], axis=1)


def paint_shadow(painter: Painter, frame: Frame, width: float) -> None:
    """The dark ground under a vehicle, and its cast shadow."""
    low, high, half = -0.15, frame.length + 0.15, width / 2 + 0.1
    ground = [(low, -half, 0), (high, -half, 0), (high, half, 0), (low, half, 0)]
    under = frame.world(np.array(ground, float))
    painter.veil(under, painter.style.shadow_colour, 0.75, None)
    painter.shadow(under - np.array([0.8 * painter.light.sun, 0, 0]), 0.9)
