"""Dataset dict -> training or test sample. Normalising and padding are the model's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

from ..errors import InputError
from .geometry import CropRule, Geometry, Size, mirrored, resized_size
from .label_spaces import IGNORE_INDEX
from .layouts import DatasetDict
from .photometric import photometric_distortion
from .reading import MAX_BITS, read_image, read_pair

_REDRAWS = 10


@dataclass(frozen=True)
class RequiredClass:
    """What a crop of rare-class sampling must hold: more than ``pixels`` pixels of ``train_id``."""

    train_id: int
    pixels: float


class SourceMapper:
    """Labelled image -> distorted crop and its train ids (DAFormer's source pipeline).

    Args:
        rule: resize, crop and flip.
        label_tables: (256,) uint8 table of stored value -> train id per data set name; the first
            is used for a dict without ``dataset``.
        single_category_max_area: a crop whose largest class covers this share of its labelled
            pixels, or that has fewer than two classes, is redrawn at most 10 times; >= 1 = any
            crop is taken.
        photometric: whether the accepted crop is distorted.
    """

    @configurable
    def __init__(
        self,
        *,
        rule: CropRule,
        label_tables: dict[str, ndarray],
        single_category_max_area: float,
        photometric: bool,
    ) -> None:
        self.rule = rule
        self.label_tables = label_tables
        self.single_category_max_area = single_category_max_area
        self.photometric = photometric

    @classmethod
    def from_config(cls, cfg: CfgNode, *, resize_key: str = "SOURCE_RESIZE") -> dict[str, Any]:
        """Reads INPUT and the label tables of DATASETS.TRAIN and TARGET_LABELED."""
        return {
            "rule": _crop_rule(cfg, resize_key),
            "label_tables": {
                name: _label_table(name)
                for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TARGET_LABELED)
            },
            "single_category_max_area": cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA,
            "photometric": cfg.INPUT.PHOTOMETRIC_DISTORTION,
        }

    def __call__(
        self, dataset_dict: DatasetDict, rng: Generator, required: RequiredClass | None = None
    ) -> dict[str, Any]:
        """Reads both files once and draws a crop.

        Args:
            dataset_dict: ``file_name``, ``sem_seg_file_name``, of several sets ``dataset``, and of
                16-bit images ``bit_depth``.
            rng: where all choices come from.
            required: a crop without it is redrawn at most 10 times, the last is taken.
        Returns:
            ``image`` (3, h, w) uint8 RGB, ``sem_seg`` (h, w) uint8 train ids, ``file_name``.
        Raises:
            InputError: if a file is missing, damaged, or the two do not fit.
        """
        image, labels = self._read(dataset_dict)
        for _ in range(_REDRAWS + 1):
            geometry, crop, pixels = self._draw(rng, labels)
            if required is None or pixels[required.train_id] > required.pixels:
                break
        image = geometry.apply_to_image(image)
        if self.photometric:
            image = photometric_distortion(image, rng)
        return {
            "image": _to_tensor(image),
            "sem_seg": torch.from_numpy(crop),
            "file_name": dataset_dict["file_name"],
        }

    def _read(self, dataset_dict: DatasetDict) -> tuple[ndarray, ndarray]:
        file_name, label_file = dataset_dict["file_name"], dataset_dict.get("sem_seg_file_name")
        if label_file is None:
            raise InputError(f"source image {file_name} has no label file: see DATASETS.TRAIN")
        name = dataset_dict.get("dataset", next(iter(self.label_tables)))
        return read_pair(file_name, label_file, self.label_tables[name], _bits(dataset_dict))

    def _draw(self, rng: Generator, labels: ndarray) -> tuple[Geometry, ndarray, ndarray]:
        # geometry, (h, w) train ids of the crop, (256,) pixels of each train id in it
        size = self.rule.draw_size(rng, labels.shape)
        for _ in range(_REDRAWS + 1):
            geometry = Geometry(labels.shape, size, self.rule.draw_box(rng, size), flip=False)
            crop = geometry.apply_to_labels(labels)
            pixels = np.bincount(crop.ravel(), minlength=256)
            if self._is_varied(pixels):
                break
        if self.rule.draw_flip(rng):
            geometry = Geometry(geometry.stored, size, geometry.box, flip=True)
            crop = mirrored(crop)
        return geometry, crop, pixels

    def _is_varied(self, pixels: ndarray) -> bool:
        if self.single_category_max_area >= 1.0:
            return True
        counted = pixels[:IGNORE_INDEX]
        return bool(
            np.count_nonzero(counted) > 1
            and counted.max() < self.single_category_max_area * counted.sum()
        )


class TargetMapper:
    """Unlabelled image -> crop and the mask of its trusted pixels. Never opens a label file.

    Args:
        rule: resize, crop and flip.
        margins: untrusted border (top, bottom, left, right) in pixels of the image as read.
    """

    @configurable
    def __init__(self, *, rule: CropRule, margins: tuple[int, int, int, int]) -> None:
        self.rule = rule
        self.margins = margins

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads INPUT."""
        margins = tuple(cfg.INPUT.VALID_MARGINS)
        if len(margins) != 4 or min(margins) < 0:
            raise InputError(
                f"INPUT.VALID_MARGINS is {margins}; needed are top, bottom, left, right >= 0"
            )
        return {"rule": _crop_rule(cfg, "TARGET_RESIZE"), "margins": margins}

    def __call__(self, dataset_dict: DatasetDict, rng: Generator) -> dict[str, Any]:
        """Reads the image and draws a crop.

        Returns:
            ``image`` (3, h, w) uint8 RGB, ``valid`` (h, w) uint8, 0 in the margins, else 1,
            ``file_name``.
        Raises:
            InputError: if the image is missing or damaged.
        """
        image = read_image(dataset_dict["file_name"], _bits(dataset_dict))
        stored = image.shape[:2]
        size = self.rule.draw_size(rng, stored)
        box = self.rule.draw_box(rng, size)
        geometry = Geometry(stored, size, box, self.rule.draw_flip(rng))
        return {
            "image": _to_tensor(geometry.apply_to_image(image)),
            "valid": self._valid(geometry),
            "file_name": dataset_dict["file_name"],
        }

    def _valid(self, geometry: Geometry) -> Tensor:
        # a rectangle, so its rows and columns suffice: no mask image is resized
        top, bottom, left, right = self.margins
        height, width = geometry.stored
        rows, columns = geometry.source_rows(), geometry.source_columns()
        inside_rows = (rows >= top) & (rows < height - bottom)
        inside_columns = (columns >= left) & (columns < width - right)
        return torch.from_numpy(np.outer(inside_rows, inside_columns).astype(np.uint8))


class TestMapper:
    """Image -> what is predicted in evaluation, without augmentation. Reads no label.

    Args:
        resize: box of `resized_size`; () = as stored.
    """

    __test__ = False  # not a pytest class

    @configurable
    def __init__(self, *, resize: tuple[int, ...]) -> None:
        self.resize = resize

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads INPUT.TEST_RESIZE."""
        return {"resize": _resize_box(cfg, "TEST_RESIZE")}

    def __call__(self, dataset_dict: DatasetDict) -> dict[str, Any]:
        """Reads and resizes the image.

        Returns:
            ``image`` (3, h, w) uint8 RGB, ``height`` and ``width`` of the stored image,
            ``file_name``.
        Raises:
            InputError: if the image is missing or damaged.
        """
        file_name = dataset_dict["file_name"]
        return self.sample(read_image(file_name, _bits(dataset_dict)), file_name)

    def sample(self, image: ndarray, file_name: str) -> dict[str, Any]:
        """The same of an image that has been read, (H, W, 3) uint8 RGB."""
        stored = image.shape[:2]
        size = resized_size(stored, self.resize)
        geometry = Geometry(stored, size, (0, size[0], 0, size[1]), flip=False)
        return {
            "image": _to_tensor(geometry.apply_to_image(image)),
            "height": stored[0],
            "width": stored[1],
            "file_name": file_name,
        }


def _crop_rule(cfg: CfgNode, resize_key: str) -> CropRule:
    low, high = cfg.INPUT.SCALE_RANGE
    if not 0 < low <= high:
        raise InputError(f"INPUT.SCALE_RANGE is ({low}, {high}); needed is 0 < low <= high")
    if cfg.INPUT.RANDOM_FLIP not in ("horizontal", "none"):
        raise InputError(
            f"INPUT.RANDOM_FLIP is '{cfg.INPUT.RANDOM_FLIP}'; use 'horizontal' or 'none'"
        )
    return CropRule(
        resize=_resize_box(cfg, resize_key),
        scale_range=(float(low), float(high)),
        crop=_crop_size(cfg) if cfg.INPUT.CROP.ENABLED else None,
        flip=cfg.INPUT.RANDOM_FLIP == "horizontal",
    )


def _crop_size(cfg: CfgNode) -> Size:
    if cfg.INPUT.CROP.TYPE != "absolute":
        raise InputError(
            f"INPUT.CROP.TYPE is '{cfg.INPUT.CROP.TYPE}'; only 'absolute' is supported"
        )
    size = tuple(cfg.INPUT.CROP.SIZE)
    if len(size) != 2 or min(size) < 1 or any(int(side) != side for side in size):
        raise InputError(f"INPUT.CROP.SIZE is {size}; needed are height and width in pixels")
    return int(size[0]), int(size[1])


def _resize_box(cfg: CfgNode, key: str) -> tuple[int, ...]:
    box = tuple(cfg.INPUT[key])
    if len(box) > 2 or any(side < 1 for side in box):
        raise InputError(
            f"INPUT.{key} is {box}; needed are width and height in pixels, the short side, or ()"
        )
    return box


def _bits(dataset_dict: DatasetDict) -> int:
    return dataset_dict.get("bit_depth", MAX_BITS)


def _label_table(name: str) -> ndarray:
    return np.array(MetadataCatalog.get(name).label_table, dtype=np.uint8)


def _to_tensor(image: ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
