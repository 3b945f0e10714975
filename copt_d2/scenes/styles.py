"""The looks: materials, illumination and film. The domain gaps are made here and in finish.py."""

from dataclasses import dataclass, replace

import numpy as np

from .palettes import (
    FOG_PALETTE,
    NIGHT_PALETTE,
    PHOTOGRAPHIC_PALETTE,
    RAIN_PALETTE,
    RENDERED_PALETTE,
    SNOW_PALETTE,
    SYNTHETIC_PALETTE,
    TOWN_PALETTE,
    Colours,
)

Range = tuple[float, float]


@dataclass(frozen=True)
class Film:
    """How a camera turns light into numbers; each pair is the range that a picture draws from.

    Attributes:
        warmth: deviation of the white balance between red and blue.
        exposure: gain.
        saturation: 1 = as it is.
        contrast: gain around ``pivot``.
        pivot: brightness that the contrast leaves alone.
        noise: deviation of the pixels' noise, in grey levels.
    """

    warmth: float = 0.045
    exposure: Range = (0.85, 1.25)
    saturation: Range = (0.8, 1.15)
    contrast: Range = (1.0, 1.3)
    pivot: float = 112.0
    noise: Range = (1.0, 3.5)


@dataclass(frozen=True)
class Style:
    """A look.

    Attributes:
        name: its key in STYLES.
        palette: material -> colours to choose from, RGB 0..255.
        jitter: relative standard deviation of an object's brightness.
        textured: whether surfaces carry texture and the camera its faults.
        shadow_colour: (3,) what a shadow is mixed with.
        haze_range: shortest and longest haze length in metres.
        shadow_range: weakest and strongest shadow, 0..1.
        side_range: brightness of faces away from and towards the sun.
        film: the camera's faults, of a textured style.
        weather: "fog", "night", "rain", "snow", or "" = a dry day; only with texture.
        shadow_length: of a house's shadow on the street, as a share of its height.
        town: whether it shows the streets of town.py, not those of layout.py.
        aspect: height / width of its pictures.
        sky_gain: brightness of the sky beside what its palette says; a bright one is blown out.
    """

    name: str
    palette: dict[str, Colours]
    jitter: float
    textured: bool
    shadow_colour: np.ndarray
    haze_range: Range
    shadow_range: Range
    side_range: Range
    film: Film = Film()
    weather: str = ""
    shadow_length: Range = (0.15, 0.8)
    town: bool = False
    aspect: float = 0.5
    sky_gain: Range = (1.0, 1.0)


@dataclass(frozen=True)
class Light:
    """One picture's illumination.

    Attributes:
        sun: -1 = from the left, 1 = from the right.
        haze_colour: (3,) colour of far things.
        haze_length: metres until 63 % haze.
        shadow: opacity of shadows, 0..1.
        sides: brightness of faces away from and towards the sun.
    """

    sun: int
    haze_colour: np.ndarray
    haze_length: float
    shadow: float
    sides: Range

    def side(self, normal_x: float) -> float:
        """Brightness of an upright face by the x component of its outward normal, -1..1."""
        dark, bright = self.sides
        return dark + (bright - dark) * (1 + self.sun * normal_x) / 2


RENDERED = Style(
    name="rendered",
    palette=RENDERED_PALETTE,
    jitter=0.04,
    textured=False,
    shadow_colour=np.array([40.0, 44.0, 60.0]),
    haze_range=(500.0, 900.0),
    shadow_range=(0.15, 0.35),
    side_range=(0.8, 1.06),
)

PHOTOGRAPHIC = Style(
    name="photographic",
    palette=PHOTOGRAPHIC_PALETTE,
    jitter=0.09,
    textured=True,
    shadow_colour=np.array([26.0, 28.0, 36.0]),
    haze_range=(180.0, 600.0),
    shadow_range=(0.2, 0.7),
    side_range=(0.62, 1.12),
)

# flat like RENDERED, with other materials, hard low light and a longer haze
SYNTHETIC = Style(
    name="synthetic",
    palette=SYNTHETIC_PALETTE,
    jitter=0.07,
    textured=False,
    shadow_colour=np.array([22.0, 18.0, 30.0]),
    haze_range=(120.0, 260.0),
    shadow_range=(0.45, 0.75),
    side_range=(0.55, 1.15),
)

# Without sun, hardly a shadow and sides of one brightness. Haze is made from each pixel's depth
# in weather.py, so the painter's own hardly counts.
_SUNLESS = replace(
    PHOTOGRAPHIC, haze_range=(4000.0, 5000.0), shadow_range=(0.05, 0.2), side_range=(0.85, 1.0)
)

FOG = replace(
    _SUNLESS,
    name="fog",
    weather="fog",
    palette=FOG_PALETTE,
    film=Film(0.02, (0.9, 1.1), (0.7, 1.0), (0.95, 1.05), 150.0),
)
RAIN = replace(
    _SUNLESS,
    name="rain",
    weather="rain",
    palette=RAIN_PALETTE,
    film=Film(0.025, (0.8, 1.05), (0.7, 1.0), (0.9, 1.1), 112.0, (1.5, 4.0)),
)
SNOW = replace(
    _SUNLESS,
    name="snow",
    weather="snow",
    palette=SNOW_PALETTE,
    film=Film(0.02, (0.95, 1.1), (0.7, 1.0), (1.0, 1.15), 150.0),
)
NIGHT = replace(
    _SUNLESS,
    name="night",
    weather="night",
    palette=NIGHT_PALETTE,
    film=Film(0.07, (0.8, 1.15), (0.75, 1.1), (1.0, 1.15), 30.0, (4.0, 9.0)),
)

# a town in winter under a low sun and a pale sky, through a small camera
TOWN = replace(
    PHOTOGRAPHIC,
    name="town",
    palette=TOWN_PALETTE,
    jitter=0.13,
    haze_range=(250.0, 900.0),
    shadow_range=(0.25, 0.75),
    side_range=(0.38, 1.2),
    film=Film(0.022, (0.75, 1.25), (0.75, 1.25), (1.05, 1.45), 105.0, (1.0, 4.0)),
    shadow_length=(0.3, 2.2),
    town=True,
    aspect=0.75,
    sky_gain=(1.05, 1.6),
)

STYLES = {
    style.name: style for style in (RENDERED, PHOTOGRAPHIC, SYNTHETIC, FOG, NIGHT, RAIN, SNOW, TOWN)
}


def draw_light(style: Style, rng: np.random.Generator) -> Light:
    """Draws a picture's illumination."""
    low_sky = np.array(style.palette["sky_low"][rng.integers(len(style.palette["sky_low"]))], float)
    return Light(
        sun=int(rng.choice((-1, 1))),
        haze_colour=low_sky - 8,
        haze_length=float(rng.uniform(*style.haze_range)),
        shadow=float(rng.uniform(*style.shadow_range)),
        sides=style.side_range,
    )
