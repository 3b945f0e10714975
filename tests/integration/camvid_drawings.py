"""Frames in CamVid's layout, drawn from coloured boxes: enough to learn from in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 64, 96
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, _, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)
COLOURS = np.array(
    [
        *((150, 190, 235), (130, 90, 70), (200, 200, 60), (90, 90, 95), (190, 150, 150)),
        *((50, 130, 50), (230, 60, 40), (0, 0, 0), (40, 60, 190), (230, 170, 130), (160, 40, 160)),
        (20, 20, 20),
    ],
    dtype=np.float64,
)


def draw_labels(rng, near_car):
    """(64, 96) uint8 train ids of a street; 11 = unlabelled."""
    labels = np.full((HEIGHT, WIDTH), SKY, dtype=np.uint8)
    horizon = rng.integers(26, 34)
    left, right = rng.integers(18, 34, size=2)
    labels[:horizon, :left] = BUILDING
    labels[rng.integers(8, 18) : horizon, WIDTH - right :] = TREE
    labels[horizon:] = ROAD
    labels[horizon:, : rng.integers(14, 22)] = PAVEMENT
    x = rng.integers(40, 50)
    labels[12 : horizon + 6, x : x + 3] = POLE
    labels[10:19, x - 4 : x + 6] = SIGN
    x, y = rng.integers(52, 66), rng.integers(36, 44)
    labels[y : y + 14, x : x + 24] = CAR
    if near_car:  # fills a cell of the encoder's last stage
        labels[30:62, 62:] = CAR
    x = rng.integers(2, 10)
    labels[horizon - 4 : horizon + 16, x : x + 6] = PEDESTRIAN
    x = rng.integers(26, 36)
    labels[44:60, x : x + 8] = BICYCLIST
    labels[-3:, 30:50] = VOID
    return labels


def draw_image(labels, rng, light):
    """(64, 96, 3) uint8: a colour per class, grain, and ``light`` as a factor per channel."""
    pixels = COLOURS[labels] + rng.normal(0, 12, (*labels.shape, 3))
    return np.clip(pixels * light, 0, 255).astype(np.uint8)


def draw_camvid(root, day=8, dusk=44, val=3):
    """Writes ``camvid`` below ``root``: day and dusk frames in train, day frames in val."""
    frames = [("train", f"0006R0_f{i:05}", False) for i in range(day // 2)]
    frames += [("train", f"0016E5_f{i:05}", False) for i in range(day - day // 2)]
    frames += [("train", f"0001TP_{i:06}", True) for i in range(dusk)]
    frames += [("val", f"0016E5_{i:05}", False) for i in range(val)]
    for number, (split, name, is_dusk) in enumerate(frames):
        rng = np.random.default_rng(number)
        labels = draw_labels(rng, near_car=number % 2 == 0)
        image = draw_image(labels, rng, light=(0.4, 0.4, 0.55) if is_dusk else (1.0, 1.0, 1.0))
        for folder, pixels in ((split, image), (f"{split}annot", labels)):
            path = Path(root) / "camvid" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
