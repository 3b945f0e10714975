"""A small data set of one's own: drawn scenes of four classes, masks of ids and of colours."""

import json

import cv2
import numpy as np
from pycocotools import mask as rle

CLASSES = ("floor", "wall", "pallet", "person")
COLORS = ((90, 90, 90), (200, 200, 180), (190, 153, 90), (220, 20, 60))
DESCRIPTION = """\
classes:
  - {name: floor, color: [90, 90, 90]}
  - {name: wall, color: [200, 200, 180]}
  - {name: pallet, words: [pallet, wooden pallet], color: [190, 153, 90], thing: true}
  - {name: person, words: [person, worker], color: [220, 20, 60], thing: true}
ignore: [255, [0, 0, 0]]
source: {images: sim/rgb, masks: sim/MASKS, domain: computer-rendered warehouse}
target: {images: camera/frames, domain: warehouse camera footage}
val: {images: camera/val, masks: camera/val_MASKS}
"""


def scene(rng, height=72, width=96):
    """An image, (h, w, 3) uint8 RGB, and its train ids, (h, w) uint8."""
    ids = np.zeros((height, width), np.uint8)
    horizon = int(rng.integers(height // 3, height // 2))
    ids[:horizon] = 1
    for train_id in (2, 3):
        size = 14 + 6 * (3 - train_id)
        top = int(rng.integers(horizon - 8, height - size))
        left = int(rng.integers(0, width - 2 * size))
        ids[top : top + size, left : left + size] = train_id
    ids[:2, :2] = 255
    noise = rng.integers(-12, 12, (height, width, 3))
    colors = np.array([*COLORS, *[(0, 0, 0)] * 252])
    return np.clip(colors[ids] + noise, 0, 255).astype(np.uint8), ids


def draw(folder, counts=None, seed=0, **size):
    """Writes ``sim``, ``camera`` below a folder: images, masks of ids and masks of colours."""
    counts = counts or {"sim/rgb": 6, "camera/frames": 5, "camera/val": 2, "camera/few": 2}
    for number, (place, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, number])
        for index in range(count):
            image, ids = scene(rng, **size)
            if place.startswith("camera"):
                image = image // 2 + 60
            name = f"{index:03}.png"
            base = folder / place.replace("/rgb", "/")
            masks = folder / ("sim" if place == "sim/rgb" else base)
            kinds = {"ids": ids, "colors": _coloured(ids)}
            _write(folder / place / name, image)
            for kind, labels in kinds.items():
                below = (
                    masks / kind if place == "sim/rgb" else masks.with_name(f"{masks.name}_{kind}")
                )
                _write(below / name, labels)


def _coloured(ids):
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(COLORS)] = COLORS
    return colors[ids]


def write_coco(path, folder):
    """The masks of ids in a folder as COCO's run lengths, an object a class and image."""
    images, objects = [], []
    for number, file in enumerate(sorted(folder.glob("*.png"))):
        ids = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        height, width = ids.shape
        images.append({"id": number, "file_name": file.name, "height": height, "width": width})
        for train_id in np.unique(ids[ids < len(CLASSES)]).tolist():
            counts = rle.encode(np.asfortranarray(ids == train_id).astype(np.uint8))
            entry = {"id": len(objects), "image_id": number, "category_id": train_id + 1}
            area, box = int((ids == train_id).sum()), rle.toBbox(counts).tolist()
            counts["counts"] = counts["counts"].decode()
            objects.append({**entry, "segmentation": counts, "area": area, "bbox": box})
            objects[-1]["iscrowd"] = 0
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": objects, "categories": categories}
    path.write_text(json.dumps(content))


def _write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., ::-1])


def write_description(folder, form="ids", name="warehouse.yaml", **changes):
    """The description with masks of ids or colours; ``changes`` replace its texts."""
    text = DESCRIPTION.replace("MASKS", form)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path
