"""The two looks: materials and illumination. The domain gap is made here and in finish.py."""

from dataclasses import dataclass

import numpy as np

Colours = tuple[tuple[int, int, int], ...]

RENDERED_PALETTE: dict[str, Colours] = {
    "sky_high": ((62, 128, 214), (74, 142, 224), (54, 112, 206)),
    "sky_low": ((168, 206, 240), (184, 214, 240)),
    "cloud": ((246, 249, 252),),
    "hill": ((70, 128, 76), (84, 140, 86)),
    "skyline": ((142, 152, 172), (160, 160, 176)),
    "asphalt": ((74, 76, 84), (82, 82, 90), (66, 70, 80)),
    "marking": ((240, 240, 240), (244, 222, 120)),
    "pavement": ((186, 178, 166), (196, 184, 168), (176, 172, 168)),
    "kerb": ((214, 210, 204),),
    "grass": ((92, 168, 62), (104, 178, 70), (84, 158, 60)),
    "facade": (
        *((226, 178, 120), (214, 134, 104), (236, 208, 156)),
        *((172, 186, 206), (206, 196, 186), (188, 110, 92), (160, 178, 150)),
    ),
    "window": ((64, 96, 140), (78, 116, 160), (54, 82, 126)),
    "frame": ((244, 240, 232), (120, 84, 60)),
    "door": ((118, 66, 42), (52, 92, 76), (148, 42, 42)),
    "shop": ((210, 60, 60), (60, 110, 190), (60, 160, 110), (235, 190, 60)),
    "roof": ((168, 74, 54), (96, 86, 92), (140, 60, 48)),
    "wall": ((150, 130, 176), (166, 142, 128), (140, 140, 160)),
    "fence": ((196, 150, 96), (214, 206, 200), (108, 120, 128)),
    "leaf": ((42, 112, 40), (54, 128, 46), (36, 100, 50)),
    "trunk": ((104, 74, 48), (92, 66, 44)),
    "car": (
        *((204, 36, 36), (36, 82, 190), (236, 236, 240), (240, 188, 40)),
        *((40, 44, 52), (46, 150, 90), (226, 110, 34), (150, 156, 166)),
    ),
    "glass": ((40, 56, 76), (52, 72, 96)),
    "tyre": ((24, 24, 28),),
    "rim": ((176, 180, 188),),
    "truck": ((66, 120, 200), (224, 224, 228), (214, 132, 40), (66, 140, 90)),
    "cab": ((210, 50, 44), (40, 70, 150), (240, 240, 240), (236, 176, 30)),
    "bus": ((244, 186, 22), (206, 40, 40), (40, 120, 196)),
    "tram": ((40, 130, 120), (70, 150, 80), (190, 30, 60)),
    "tram_band": ((250, 244, 214),),
    "tail": ((230, 24, 24),),
    "lamp": ((250, 250, 226),),
    "skin": ((236, 188, 152), (198, 140, 104), (120, 80, 58)),
    "hair": ((60, 40, 28), (30, 26, 26), (190, 150, 80)),
    "shirt": ((220, 50, 60), (50, 100, 200), (240, 220, 70), (60, 160, 90), (240, 240, 240)),
    "trousers": ((44, 60, 110), (60, 56, 60), (140, 110, 80)),
    "helmet": ((240, 240, 240), (230, 60, 40), (50, 90, 200)),
    "bike": ((200, 40, 40), (40, 90, 180), (40, 140, 80), (30, 30, 34)),
    "spokes": ((120, 118, 116), (140, 136, 130)),
    "motor": ((196, 30, 30), (30, 60, 150), (40, 40, 44), (230, 130, 20)),
    "pole": ((146, 150, 156), (112, 116, 122)),
    "light_box": ((34, 36, 40), (48, 46, 40)),
    "red": ((255, 40, 30),),
    "amber": ((255, 190, 30),),
    "green": ((50, 240, 110),),
    "off": ((70, 62, 58),),
    "sign_blue": ((30, 86, 206),),
    "sign_red": ((224, 30, 36),),
    "sign_yellow": ((250, 206, 30),),
    "sign_white": ((246, 246, 246),),
}

PHOTOGRAPHIC_PALETTE: dict[str, Colours] = {
    "sky_high": ((186, 196, 206), (206, 210, 212), (150, 172, 200), (214, 206, 194)),
    "sky_low": ((228, 228, 224), (236, 228, 212)),
    "cloud": ((240, 240, 238), (176, 180, 186)),
    "hill": ((92, 96, 74), (84, 84, 72)),
    "skyline": ((140, 138, 136), (122, 124, 130)),
    "asphalt": ((102, 100, 98), (92, 90, 90), (114, 110, 108)),
    "marking": ((204, 200, 190), (188, 182, 168)),
    "pavement": ((138, 128, 120), (126, 120, 118), (148, 132, 120)),
    "kerb": ((158, 154, 148), (116, 112, 108)),
    "grass": ((108, 118, 62), (98, 112, 56), (126, 124, 76)),
    "facade": (
        *((138, 84, 66), (122, 104, 88), (160, 146, 124), (104, 98, 92)),
        *((172, 162, 150), (112, 68, 56), (88, 84, 84)),
    ),
    "window": ((40, 42, 44), (156, 166, 172), (92, 96, 98), (60, 58, 54)),
    "frame": ((196, 192, 184), (70, 66, 62)),
    "door": ((62, 48, 40), (44, 50, 52), (98, 74, 56)),
    "shop": ((96, 60, 56), (64, 74, 86), (128, 118, 92), (52, 70, 60)),
    "roof": ((98, 62, 52), (74, 72, 74), (62, 56, 54)),
    "wall": ((134, 128, 130), (112, 106, 112), (148, 142, 142)),
    "fence": ((84, 76, 66), (66, 74, 68), (112, 106, 100)),
    "leaf": ((58, 76, 40), (70, 82, 42), (84, 84, 46), (48, 66, 40)),
    "trunk": ((70, 62, 54), (84, 76, 68)),
    "car": (
        *((34, 35, 38), (188, 190, 192), (222, 222, 220), (92, 96, 100)),
        *((44, 52, 74), (96, 34, 34), (128, 122, 110), (60, 66, 62)),
    ),
    "glass": ((26, 28, 30), (96, 104, 110), (56, 60, 62)),
    "tyre": ((30, 29, 28),),
    "rim": ((128, 128, 126), (84, 84, 84)),
    "truck": ((206, 204, 198), (92, 100, 112), (138, 122, 96), (160, 160, 158)),
    "cab": ((218, 216, 210), (110, 40, 36), (54, 66, 92)),
    "bus": ((200, 194, 180), (138, 52, 44), (186, 152, 70)),
    "tram": ((150, 46, 42), (56, 84, 76), (196, 168, 76)),
    "tram_band": ((204, 198, 180),),
    "tail": ((150, 30, 26),),
    "lamp": ((226, 222, 206),),
    "skin": ((196, 152, 126), (158, 112, 86), (96, 68, 52)),
    "hair": ((46, 38, 32), (26, 24, 24), (120, 100, 76)),
    "shirt": ((40, 42, 48), (84, 80, 78), (58, 66, 88), (112, 56, 52), (166, 162, 154)),
    "trousers": ((36, 40, 52), (44, 42, 42), (92, 82, 70)),
    "helmet": ((196, 194, 190), (46, 46, 48), (140, 60, 50)),
    "bike": ((36, 36, 38), (96, 98, 100), (84, 40, 38), (48, 60, 76)),
    "spokes": ((86, 82, 78), (104, 98, 92)),
    "motor": ((36, 36, 38), (96, 36, 34), (84, 86, 90)),
    "pole": ((94, 94, 90), (120, 118, 112), (66, 72, 70)),
    "light_box": ((34, 38, 34), (64, 62, 52)),
    "red": ((236, 92, 70),),
    "amber": ((240, 186, 90),),
    "green": ((120, 220, 170),),
    "off": ((48, 46, 44),),
    "sign_blue": ((44, 78, 146),),
    "sign_red": ((168, 44, 42),),
    "sign_yellow": ((206, 170, 66),),
    "sign_white": ((214, 212, 206),),
}


@dataclass(frozen=True)
class Style:
    """A look.

    Attributes:
        name: "rendered" or "photographic".
        palette: material -> colours to choose from, RGB 0..255.
        jitter: relative standard deviation of an object's brightness.
        textured: whether surfaces carry texture and the camera its faults.
        shadow_colour: (3,) what a shadow is mixed with.
        haze_range: shortest and longest haze length in metres.
        shadow_range: weakest and strongest shadow, 0..1.
        side_range: brightness of faces away from and towards the sun.
    """

    name: str
    palette: dict[str, Colours]
    jitter: float
    textured: bool
    shadow_colour: np.ndarray
    haze_range: tuple[float, float]
    shadow_range: tuple[float, float]
    side_range: tuple[float, float]


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
    sides: tuple[float, float]

    def side(self, normal_x: float) -> float:
        """Brightness of an upright face by the x component of its outward normal, -1..1."""
        dark, bright = self.sides
        return dark + (bright - dark) * (1 + self.sun * normal_x) / 2


STYLES = {
    "rendered": Style(
        name="rendered",
        palette=RENDERED_PALETTE,
        jitter=0.04,
        textured=False,
        shadow_colour=np.array([40.0, 44.0, 60.0]),
        haze_range=(500.0, 900.0),
        shadow_range=(0.15, 0.35),
        side_range=(0.8, 1.06),
    ),
    "photographic": Style(
        name="photographic",
        palette=PHOTOGRAPHIC_PALETTE,
        jitter=0.09,
        textured=True,
        shadow_colour=np.array([26.0, 28.0, 36.0]),
        haze_range=(180.0, 600.0),
        shadow_range=(0.2, 0.7),
        side_range=(0.62, 1.12),
    ),
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
