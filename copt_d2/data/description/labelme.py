"""LabelMe files -> train ids."""

import base64
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy import ndarray

from ...errors import InputError
from ..label_spaces import IGNORE_INDEX
from .categories import MISFITS, Categories, read_json

logger = logging.getLogger("copt_d2.data")


def paint_labelme(path: Path, categories: Categories, background: int = IGNORE_INDEX) -> ndarray:
    """(H, W) uint8 train ids of a LabelMe JSON: polygons, rectangles, circles and masks, later ones
    over earlier ones.

    Raises:
        InputError: if it is no such file.
    """
    content = read_json(path, "labelme")
    try:
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        labels = np.full((height, width), background, np.uint8)
        for shape in content["shapes"]:
            train_id = categories.train_id(shape["label"])
            if train_id is not None:
                _paint_shape(labels, shape, train_id)
    except (*MISFITS, cv2.error) as error:
        raise InputError(
            f"labelme: {path} is no LabelMe file ({type(error).__name__}: {error}): it needs "
            "imageHeight, imageWidth and shapes with label and points"
        ) from None
    return labels


def _paint_shape(labels: ndarray, shape: Mapping[str, Any], train_id: int) -> None:
    kind = shape.get("shape_type") or "polygon"
    points = np.array(shape["points"], np.float64)
    if kind == "mask":
        _paint_mask(labels, shape["mask"], points, train_id)
    elif kind == "rectangle":
        (x1, y1), (x2, y2) = points
        corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
        cv2.fillPoly(labels, [_pixels(corners)], train_id)
    elif kind == "circle":
        center, edge = points
        radius = round(float(np.hypot(*(edge - center))))
        cv2.circle(labels, _pixels(center).tolist(), radius, train_id, thickness=-1)
    elif kind == "polygon":
        cv2.fillPoly(labels, [_pixels(points)], train_id)
    else:  # point, line, linestrip: they have no area
        logger.debug("labelme: a %s has no area and is left out", kind)


def _pixels(points: ndarray) -> ndarray:
    return np.rint(points).astype(np.int32)


def _paint_mask(labels: ndarray, encoded: str, points: ndarray, train_id: int) -> None:
    """LabelMe's own form: a PNG of the object's box, in base64."""
    data = np.frombuffer(base64.b64decode(encoded), np.uint8)
    region = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if region is None:
        raise ValueError("a mask is no PNG")
    x, y = _pixels(points.min(axis=0))
    region = region[: labels.shape[0] - y, : labels.shape[1] - x]
    labels[y : y + region.shape[0], x : x + region.shape[1]][region > 0] = train_id
