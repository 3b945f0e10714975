"""Scenes as files: each data set's own names, folders and label values."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from copt_d2.data.label_spaces import (
    CITYSCAPES_16,
    CITYSCAPES_IDS,
    CITYSCAPES_PALETTE,
    CITYSCAPES_THINGS,
    SYNTHIA_IDS,
)

from .render import render_scene

CITIES = ("altstadt", "brueckheim", "cannwald", "dornfeld")
SCENES_PER_CITY = 50
NIGHT_SEQUENCES = {"train": "GOPR0351", "val": "GOPR0356", "test": "GOPR0364"}
CONDITIONS = ("fog", "night", "rain", "snow")  # scene i is of condition i mod 4

# train id -> id in the files; what is ignored is stored as 0 ("unlabeled")
FILE_IDS = np.zeros(256, np.uint8)
FILE_IDS[: len(CITYSCAPES_IDS)] = CITYSCAPES_IDS
FILE_IDS.setflags(write=False)

# train id -> id in SYNTHIA's files; terrain, truck and train do not occur there: 0 = void
SYNTHIA_FILE_IDS = np.zeros(256, np.uint16)
SYNTHIA_FILE_IDS[list(CITYSCAPES_16)] = [SYNTHIA_IDS[train_id] for train_id in CITYSCAPES_16]
SYNTHIA_FILE_IDS.setflags(write=False)

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


def write_synthia(
    root: Path, split: str, index: int, image: np.ndarray, labels: np.ndarray
) -> None:
    """Writes ``RGB/0000000.png`` and ``GT/LABELS/0000000.png``: 16 bit, red = id, green = instance.

    Args:
        root: the data set's folder.
        split: has no meaning here: SYNTHIA has one.
        index: number of the scene, from 0; so are the files.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids, 255 = ignored.
    """
    name = f"{index:07}.png"
    _write_image(root / "RGB" / name, image)
    channels = np.zeros((*labels.shape, 3), np.uint16)  # OpenCV's order: blue, green, red
    channels[..., 1] = _instances(labels)
    channels[..., 2] = SYNTHIA_FILE_IDS[labels]
    _write_png(root / "GT" / "LABELS" / name, channels)


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
    _write_png(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", FILE_IDS[labels])


def write_dark_zurich(
    root: Path, split: str, index: int, image: np.ndarray, labels: np.ndarray
) -> None:
    """Writes ``rgb_anon/{split}/night/{seq}/*_rgb_anon.png``, and labels of "val" below ``gt/``.

    Args:
        root: the data set's folder.
        split: "train", "val", "test", or "val_ref": the photograph by day that belongs to one of
            "val".
        index: number of the scene, from 0; file numbers start at 1.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids, 255 = ignored.
    """
    place, is_reference = split.removesuffix("_ref"), split.endswith("_ref")
    sequence = NIGHT_SEQUENCES[place]
    stem = f"{sequence}_frame_{index + 1:06}"
    if is_reference:
        folder = root / "rgb_anon" / split / "day" / f"{sequence}_ref"
        _write_image(folder / f"{stem}_ref_rgb_anon.png", image)
        return
    below = Path(split) / "night" / sequence
    _write_image(root / "rgb_anon" / below / f"{stem}_rgb_anon.png", image)
    if split == "val":
        _write_ids(root / "gt" / below / stem, labels)


def write_acdc(root: Path, split: str, index: int, image: np.ndarray, labels: np.ndarray) -> None:
    """Writes ``rgb_anon/{condition}/{split}/{seq}/*_rgb_anon.png`` and labels below ``gt/``.

    Args:
        root: the data set's folder.
        split: "train", "val", "test" (no labels), or "train_ref" and "val_ref": photographs in
            clear weather (no labels).
        index: number of the scene, from 0; its condition is CONDITIONS[index % 4].
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids, 255 = ignored.
    """
    number, condition = divmod(index, len(CONDITIONS))
    place = ("train", "val", "test").index(split.removesuffix("_ref"))
    sequence = f"GOPR{4 * place + condition + 101:04}"
    below = Path(CONDITIONS[condition]) / split / sequence
    stem = f"{sequence}_frame_{number + 1:06}"
    kind = "rgb_ref_anon" if split.endswith("_ref") else "rgb_anon"
    _write_image(root / "rgb_anon" / below / f"{stem}_{kind}.png", image)
    if split in ("train", "val"):
        _write_ids(root / "gt" / below / stem, labels)


def write_split(
    write: SceneWriter,
    root: Path,
    split: str,
    count: int,
    styles: Sequence[str],
    width: int,
    seeds: Sequence[int],
    progress: Callable[[int], object],
) -> None:
    """Draws and writes ``count`` scenes.

    Scene i is drawn from the seed ``[*seeds, i]``, in the styles' turn.
    """
    for index in range(count):
        style = styles[index % len(styles)]
        image, labels = render_scene([*seeds, index], style, width)
        write(root, split, index, image, labels)
        progress(1)


def _instances(labels: np.ndarray) -> np.ndarray:
    """(H, W) int32: connected pieces of each countable class, numbered from 1; 0 elsewhere."""
    numbers = np.zeros(labels.shape, np.int32)
    for train_id in CITYSCAPES_THINGS:
        count, pieces = cv2.connectedComponents((labels == train_id).astype(np.uint8))
        if count > 1:
            numbers += np.where(pieces > 0, pieces + numbers.max(), 0)
    return numbers


def _write_ids(stem: Path, labels: np.ndarray) -> None:
    """The two label files of Dark Zurich and ACDC."""
    _write_png(stem.with_name(f"{stem.name}_gt_labelTrainIds.png"), labels)
    _write_png(stem.with_name(f"{stem.name}_gt_labelIds.png"), FILE_IDS[labels])


def _write_image(path: Path, image: np.ndarray) -> None:
    _write_png(path, np.ascontiguousarray(image[..., ::-1]))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    path.write_bytes(content)  # unlike cv2.imwrite, says why it failed
