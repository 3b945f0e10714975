"""Tiny data sets in the official layouts, written to a temporary folder."""

import cv2
import numpy as np
import pytest
from detectron2.config import get_cfg
from PIL import Image

from copt_d2 import add_copt_config


class DataFolder:
    """Writes images and label files below a root."""

    def __init__(self, root):
        self.root = root

    def touch(self, path):
        """An empty file: listing reads no pixels."""
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def image(self, path, size=(19, 27), value=None, seed=0):
        """An RGB image of (h, w) ``size``: noise, or one colour."""
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        if value is not None:
            pixels[:] = value
        return self._save(Image.fromarray(pixels), path)

    def label(self, path, values):
        """An 8-bit grey label file."""
        return self._save(Image.fromarray(np.asarray(values, dtype=np.uint8)), path)

    def palette_label(self, path, values, palette):
        """An 8-bit palette label file."""
        image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
        image.putpalette([channel for color in palette for channel in color])
        return self._save(image, path)

    def synthia_label(self, path, ids, seed=0):
        """A 16-bit RGB label file: ids in the red channel, noise in the others."""
        red = np.asarray(ids, dtype=np.uint16)
        noise = np.random.default_rng(seed).integers(0, 23, (2, *red.shape), dtype=np.uint16)
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.stack([*noise, red], axis=-1))  # OpenCV writes B, G, R
        return path

    def camvid_pair(self, split, stem, labels, suffix=".png", seed=0):
        """An image of noise and its labels."""
        labels = np.asarray(labels)
        self.image(f"camvid/{split}/{stem}{suffix}", labels.shape, seed=seed)
        self.label(f"camvid/{split}annot/{stem}.png", labels)

    def _save(self, image, path):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The root of the data sets, which the environment variable names; caches go beside it."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cache"))
    return DataFolder(tmp_path / "sets")


@pytest.fixture
def day_and_dusk(folder):
    """Five day images (road and sky, a car in two of them) and four dusk images without labels."""
    for i in range(5):
        labels = np.zeros((19, 27), dtype=np.uint8)
        labels[7 + i :] = 3
        if i < 2:
            labels[10:15, 4:16] = 8
        folder.camvid_pair("train", f"0006R0_{i:03}", labels, seed=i)
    for i in range(4):
        folder.image(f"camvid/train/0001TP_{i:03}.png", seed=50 + i)
    return folder


@pytest.fixture
def cfg():
    """The configuration of CamVid day to dusk on images of 19x27."""
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.DATASETS.TRAIN = ("camvid_day_train",)
    cfg.DATASETS.TARGET = ("camvid_dusk_train",)
    cfg.INPUT.CROP.SIZE = [9, 13]
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.RARE_CLASS.MIN_PIXELS = 20
    return cfg
