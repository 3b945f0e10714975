"""Scenes as files: each data set's own names, folders and label values."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from copt_d2.data.label_spaces import CITYSCAPES_IDS, CITYSCAPES_PALETTE

from .render import render_scene

CITIES = ("altstadt", "brueckheim", "cannwald", "dornfeld")
SCENES_PER_CITY = 50

# train id -> id in the files; what is ignored is stored as 0 ("unlabeled")
FILE_IDS = np.zeros(256, np.uint8)
FILE_IDS[: len(CITYSCAPES_IDS)] = CITYSCAPES_IDS
FILE_IDS.setflags(write=False)

SceneWriter = Callable[[Path, str, int, np.ndarray, np.ndarray], None]


def write_gta(root: Path, split: str, index: int, image: np.ndarray, labels: np.ndarray) -> None:
    """Writes ``images/00001.png``, and ``labels/00001.png`` with the label id as palette index.

    Args:
        root: the data set's folder.
        split: has no meaning here: GTA has one.
        index: number of the scene, from 0; file numbers start at 1.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids, 255 = ignored.
    """
    name = f"{index + 1:05}.png"
    _write_image(root / "images" / name, image)
    palette = np.zeros((256, 3), np.uint8)
    palette[list(CITYSCAPES_IDS)] = CITYSCAPES_PALETTE
    picture = Image.fromarray(FILE_IDS[labels])
    picture.putpalette(palette.tobytes())
    path = root / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=1)


def write_cityscapes(
    root: Path, split: str, index: int, image: np.ndarray, labels: np.ndarray
) -> None:
    """Writes ``leftImg8bit/{split}/{city}/*_leftImg8bit.png`` and ``gtFine/*_labelIds.png``.

    Args:
        root: the data set's folder.
        split: "train" or "val".
        index: number of the scene, from 0.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids, 255 = ignored.
    """
    number = index // SCENES_PER_CITY
    city = "valstadt" if split == "val" else CITIES[number % len(CITIES)]
    stem = f"{city}_{index:06}_000019"
    _write_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
    path = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_png(path, FILE_IDS[labels])


def write_split(
    write: SceneWriter,
    root: Path,
    split: str,
    count: int,
    style: str,
    width: int,
    seeds: Sequence[int],
    progress: Callable[[int], object],
) -> None:
    """Draws and writes ``count`` scenes; scene i is drawn from the seed ``[*seeds, i]``."""
    for index in range(count):
        image, labels = render_scene([*seeds, index], style, width)
        write(root, split, index, image, labels)
        progress(1)


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_png(path, np.ascontiguousarray(image[..., ::-1]))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    path.write_bytes(content)  # unlike cv2.imwrite, says why it failed
