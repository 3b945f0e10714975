"""COCO and COCO panoptic files -> train ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from pycocotools import mask as coco_mask

from ...errors import InputError
from ..label_spaces import IGNORE_INDEX
from .categories import MISFITS, Categories, read_json


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file and what is on it.

    Attributes:
        file_name: as in the JSON.
        size: (height, width).
        objects: its annotations with a ``train_id`` each, the largest first; crowds before them.
    """

    file_name: str
    size: tuple[int, int]
    objects: list[dict[str, Any]]


def read_coco(path: Path, categories: Categories) -> list[CocoImage]:
    """Images and objects of a COCO JSON.

    Raises:
        InputError: if it is no COCO, or has no object outside of crowds that a class has.
    """
    content = read_json(path, "coco")
    try:
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        crowds = 0
        for annotation in content["annotations"]:
            train_id = categories.train_id(names[annotation["category_id"]])
            if train_id is None:
                continue
            crowd = bool(annotation.get("iscrowd", 0))
            crowds += crowd
            objects[annotation["image_id"]].append(
                {
                    "train_id": IGNORE_INDEX if crowd else train_id,
                    "segmentation": annotation["segmentation"],
                    "area": float(annotation.get("area") or 0),
                    "crowd": crowd,
                    "id": annotation.get("id"),
                }
            )
        images = [
            CocoImage(
                str(image["file_name"]),
                (int(image["height"]), int(image["width"])),
                sorted(objects[image["id"]], key=lambda o: (not o["crowd"], -o["area"])),
            )
            for image in content["images"]
        ]
    except MISFITS as error:
        raise InputError(
            f"coco: {path} is no COCO file ({type(error).__name__}: {error}): it needs images, "
            "annotations with segmentation, and categories"
        ) from None
    found = sum(len(image.objects) for image in images)
    if found == crowds:
        names_there = ", ".join(sorted(map(str, names.values()))[:20])
        reason = "only crowd regions" if found else f"no object of a class; it has {names_there}"
        raise InputError(f"coco: {path} holds {reason}: name classes or categories: after it")
    return images


def paint_coco(image: CocoImage, where: str, background: int = IGNORE_INDEX) -> ndarray:
    """(H, W) uint8 train ids: smaller objects over larger ones.

    Args:
        image: of `read_coco`.
        where: the JSON file, for messages.
        background: train id of what no object covers.
    Raises:
        InputError: if a polygon or RLE cannot be drawn.
    """
    height, width = image.size
    labels = np.full((height, width), background, np.uint8)
    for entry in image.objects:
        try:
            region = _coco_region(entry["segmentation"], height, width)
        except (*MISFITS, Exception) as error:
            raise InputError(
                f"coco: {where}: annotation {entry['id']} of {image.file_name} cannot be drawn "
                f"({error}): correct or remove it"
            ) from None
        labels[region] = entry["train_id"]
    return labels


def _coco_region(segmentation: Any, height: int, width: int) -> ndarray:
    if isinstance(segmentation, list):  # polygons
        if not segmentation:
            return np.zeros((height, width), bool)
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):  # RLE as numbers
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
        covered = _run_lengths_sum(rle["counts"])
        if covered != height * width:  # pycocotools would fill in whatever is in memory
            raise ValueError(f"its runs cover {covered} of {height * width} pixels")
    region = coco_mask.decode(rle).astype(bool)
    if region.shape != (height, width):
        raise ValueError(f"it is {region.shape[1]}x{region.shape[0]}, not {width}x{height}")
    return region


# panoptic


def _run_lengths_sum(counts: str | bytes) -> int:
    """Pixels that a compressed RLE covers. COCO stores each run in groups of 5 bits, the lowest
    first, from the fourth run on as the difference to the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in counts.encode() if isinstance(counts, str) else counts:
        group = letter - 48
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:  # the last group of the run
            value -= (group & 16 and 1) << shift  # its highest bit is the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return sum(runs)


def read_panoptic(path: Path, categories: Categories) -> dict[str, dict[int, int]]:
    """Of a COCO panoptic JSON: file name of each PNG -> {segment id: train id}.

    Raises:
        InputError: if it is no such file or none of its segments has a class.
    """
    content = read_json(path, "panoptic")
    try:
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        tables: dict[str, dict[int, int]] = {}
        for annotation in content["annotations"]:
            table: dict[int, int] = {}
            for segment in annotation["segments_info"]:
                train_id = categories.train_id(names[segment["category_id"]])
                crowd = bool(segment.get("iscrowd", 0))
                is_class = train_id is not None and not crowd
                table[int(segment["id"])] = train_id if is_class else IGNORE_INDEX
            tables[str(annotation["file_name"])] = table
    except MISFITS as error:
        raise InputError(
            f"panoptic: {path} is no COCO panoptic file ({type(error).__name__}: {error}): it "
            "needs annotations with file_name and segments_info, and categories"
        ) from None
    if all(value == IGNORE_INDEX for table in tables.values() for value in table.values()):
        raise InputError(f"panoptic: {path} holds no segment of a class: see categories:")
    return tables


def paint_panoptic(colors: ndarray, table: Mapping[int, int], where: str) -> ndarray:
    """(H, W) uint8 train ids of a panoptic PNG; segment id = R + 256 G + 65536 B, 0 = nothing.

    Args:
        colors: (H, W, 3) uint8 RGB.
        table: segment id -> train id.
        where: the PNG, for messages.
    Raises:
        InputError: if the PNG has segments that the JSON does not know.
    """
    segments = colors.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    ids, places = np.unique(segments, return_inverse=True)
    known = {0: IGNORE_INDEX} | dict(table)
    unknown = [int(i) for i in ids if int(i) not in known]
    if unknown:
        raise InputError(
            f"panoptic: {where} holds {len(unknown)} segments that the JSON does not name, first "
            f"{unknown[0]}: both must be of one export"
        )
    values = np.array([known[int(i)] for i in ids], np.uint8)
    return values[places].reshape(segments.shape)
