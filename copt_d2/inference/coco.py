"""Predictions as COCO annotations, for pre-annotation: what a person then corrects."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy import ndarray
from pycocotools import mask as coco_masks

from ..errors import InputError
from ..files import replace_text
from .result import Result


class CocoFile:
    """Collects RLE annotations. Category ids are train ids + 1.

    A thing gives one annotation for each of its connected regions (8 neighbours), any other class
    one for all its pixels; together they hold every predicted pixel exactly once, so that reading
    them back gives the prediction. Pixels that are ignored have none.
    """

    def __init__(self, path: Path, classes: Sequence[str], things: Sequence[int]) -> None:
        """Args:
        path: what `write` makes.
        classes: names by train id.
        things: train ids of the countable ones.
        """
        self._path, self._things = path, set(things)
        self._content: dict[str, list[dict[str, Any]]] = {
            "images": [],
            "annotations": [],
            "categories": [
                {"id": k + 1, "name": name, "supercategory": "thing" if k in things else "stuff"}
                for k, name in enumerate(classes)
            ],
        }

    def add(self, file_name: str, result: Result) -> None:
        """The annotations of one image."""
        image_id = len(self._content["images"]) + 1
        height, width = result.mask.shape
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        self._content["images"].append(image)
        for train_id in np.unique(result.mask[result.mask < len(result.classes)]):
            for region in self._regions(result.mask == train_id, int(train_id)):
                self._content["annotations"].append(self._annotation(image_id, train_id, region))

    def _regions(self, mask: ndarray, train_id: int) -> Iterator[ndarray]:
        if train_id not in self._things:
            yield mask
            return
        count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for number in range(1, count):
            yield numbers == number

    def _annotation(self, image_id: int, train_id: int, region: ndarray) -> dict[str, Any]:
        code = coco_masks.encode(np.asfortranarray(region.astype(np.uint8)))
        return {
            "id": len(self._content["annotations"]) + 1,
            "image_id": image_id,
            "category_id": int(train_id) + 1,
            "segmentation": {"size": list(code["size"]), "counts": code["counts"].decode()},
            "bbox": [float(value) for value in coco_masks.toBbox(code)],
            "area": int(coco_masks.area(code)),
            "iscrowd": 0,
        }

    def write(self) -> None:
        """Writes the file.

        Raises:
            InputError: if it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._path, json.dumps(self._content))
        except OSError as error:
            raise InputError(f"--coco {self._path} cannot be written ({error.strerror})") from error
