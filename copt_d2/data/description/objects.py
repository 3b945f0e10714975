"""Plans for labels that are objects in JSON files."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy import ndarray

from ...errors import InputError
from ..reading import image_size, read_samples
from .categories import Categories
from .coco import CocoImage, paint_coco, paint_panoptic, read_coco, read_panoptic
from .convert import Digests, Item, Plan
from .files import IMAGE_ENDINGS, JSON_ENDINGS, Found, complete, list_found, match
from .labelme import paint_labelme
from .schema import Description, Part

logger = logging.getLogger("copt_d2.data")


def _digest(*told: Any) -> str:
    return hashlib.sha256(repr(told).encode(errors="surrogateescape")).hexdigest()


def _recipe(description: Description, part: Part) -> str:
    """Digest of how categories become train ids."""
    classes = [(entry.name, entry.words) for entry in description.classes]
    return _digest(part.labels.form, classes, sorted(part.labels.categories.items()))


def _plan_labelme(description: Description, part: Part, images: list[Found], where: str) -> Plan:
    files = list_found(part.labels.files, JSON_ENDINGS, f"{where}.labelme")
    pairs = complete(match(images, files, where), part.skip_missing, where)
    categories = Categories.of(description.classes, part.labels.categories)
    digests = Digests(f"{where}.labelme").of(
        [file for _, file in pairs], f"reading labels of {part.key}"
    )
    items = [
        (image, Item(Path(file).stem, digest, partial(paint_labelme, Path(file), categories)))
        for (image, file), digest in zip(pairs, digests, strict=True)
    ]
    return Plan(items, _recipe(description, part), partial(categories.report, where))


def _plan_coco(description: Description, part: Part, images: list[Found], where: str) -> Plan:
    file = part.labels.json_file
    categories = Categories.of(description.classes, part.labels.categories)
    listed = read_coco(file, categories)
    find = _finder(images)
    found = [(find(image.file_name), image) for image in listed]
    missing = [image.file_name for path, image in found if path is None]
    pairs = [(path, image) for path, image in found if path is not None]
    _require_images(missing, len(pairs), part, where)
    _require_sizes(pairs, file)
    items = [
        (
            path,
            Item(
                Path(image.file_name).stem,
                _digest(image.size, image.objects),
                partial(paint_coco, image, os.fspath(file)),
            ),
        )
        for path, image in pairs
    ]
    return Plan(items, _recipe(description, part), partial(categories.report, where))


def _require_sizes(pairs: Sequence[tuple[str, CocoImage]], file: Path) -> None:
    for path, image in pairs:
        size = image_size(path)
        if size != image.size:
            raise InputError(
                f"coco: {file} says that {image.file_name} is {image.size[1]}x{image.size[0]}, but "
                f"{path} is {size[1]}x{size[0]}: both must be of one export"
            )


def _plan_panoptic(description: Description, part: Part, images: list[Found], where: str) -> Plan:
    labels = part.labels
    categories = Categories.of(description.classes, labels.categories)
    tables = read_panoptic(labels.json_file, categories)
    masks = list_found(labels.files, IMAGE_ENDINGS, f"{where}.panoptic.masks")
    pairs = complete(match(images, masks, where), part.skip_missing, where)
    missing = [mask for _, mask in pairs if Path(mask).name not in tables]
    pairs = [pair for pair in pairs if Path(pair[1]).name in tables]
    _require_images(missing, len(pairs), part, where)
    digests = Digests(f"{where}.panoptic").of(
        [mask for _, mask in pairs], f"reading masks of {part.key}"
    )
    items = []
    for (image, mask), digest in zip(pairs, digests, strict=True):
        table = tables[Path(mask).name]
        content = _digest(digest, sorted(table.items()))
        items.append((image, Item(Path(mask).stem, content, partial(_read_panoptic, mask, table))))
    return Plan(items, _recipe(description, part), partial(categories.report, where))


def _read_panoptic(mask: str, table: dict[int, int]) -> ndarray:
    return paint_panoptic(read_samples(mask), table, mask)


def _finder(images: Sequence[Found]) -> Callable[[str], str | None]:
    """A function from a JSON's file name to the image: by its path, else by its name alone."""
    by_key = {image.key: image.path for image in images}
    by_name: dict[str, list[str]] = {}
    for image in images:
        by_name.setdefault(os.path.basename(image.key), []).append(image.path)

    def find(name: str) -> str | None:
        key = os.path.splitext(os.path.normpath(name))[0]
        same = by_name.get(os.path.basename(key), [])
        return by_key.get(key) or (same[0] if len(same) == 1 else None)

    return find


def _require_images(missing: Sequence[str], found: int, part: Part, where: str) -> None:
    """What a JSON and a folder do not have in common is an error, or named."""
    if not missing:
        return
    alone = f"{len(missing)} of {part.labels.json_file} and its files, such as {missing[0]}"
    if not found or not part.skip_missing:
        raise InputError(
            f"{where}: {alone}, are not in both, {found} are: add what is missing, or set missing: "
            "skip"
        )
    logger.warning("%s: left out: %s; %d stay", where, alone, found)


# form of `Labels` -> what makes its plan
PLANS: dict[str, Callable[[Description, Part, list[Found], str], Plan]] = {
    "coco": _plan_coco,
    "panoptic": _plan_panoptic,
    "labelme": _plan_labelme,
}
