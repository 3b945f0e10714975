"""A description's data sets in detectron2's catalogs."""

import colorsys
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..datasets import register_dataset
from ..label_spaces import Color, LabelSpace, train_id_table
from ..layouts import DatasetDict
from .labels import Table, labelled_images, unlabelled_images
from .read import read_description
from .schema import Description, Part

logger = logging.getLogger("copt_d2.data")


@dataclass(frozen=True)
class Registered:
    """A description whose data sets are in the catalogs.

    Attributes:
        description: what was read.
        names: role -> the name that stands for it.
        members: role -> names of its single data sets; where a role has one, its own.
    """

    description: Description
    names: dict[str, str]
    members: dict[str, tuple[str, ...]]


def register_description(path: str | Path) -> dict[str, str]:
    """Registers ``<stem>_source``, ``_target``, ``_target_labeled`` and ``_val``, those that the
    description has.

    Labels that training cannot read as they are, and frames of videos, are turned into PNGs in the
    cache first. A list under a role also gives ``<stem>_source_1``, ``<stem>_source_2``, ...

    Args:
        path: the description, a YAML file.
    Returns:
        role -> name.
    Raises:
        InputError: for whatever does not fit, in one line.
    """
    return register_all_of(read_description(path)).names


def register_all_of(description: Description) -> Registered:
    """The same for a description that has been read."""
    space = label_space_of(description)
    names, members = {}, {}
    for role, parts in description.parts.items():
        name = f"{description.name}_{role}"
        single = len(parts) == 1
        own = (name,) if single else tuple(f"{name}_{n}" for n in range(1, len(parts) + 1))
        of_parts = [*zip(own, parts, strict=True)]
        tables = {_register(member, description, part, space) for member, part in of_parts}
        if len(tables) > 1:  # one data set has one table, and their union is one
            for member, part in of_parts:
                tables = {_register(member, description, part, space, own_table=False)}
        if not single:
            _register_union(name, own, replace(space, table=tables.pop()))
        names[role], members[role] = name, own
    return Registered(description, names, members)


def label_space_of(description: Description) -> LabelSpace:
    """Classes, colours and things of a description; the table is that of train ids."""
    entries = description.classes
    return LabelSpace(
        classes=description.class_names,
        palette=tuple(colors_of([entry.color for entry in entries])),
        things=tuple(k for k, entry in enumerate(entries) if entry.thing),
        table=train_id_table(len(entries)),
    )


def colors_of(given: Sequence[Color | None]) -> list[Color]:
    """Colours for pictures: the given ones, and distinct ones for ``None``."""
    taken = {color for color in given if color is not None}
    # steps of the golden angle never come close to each other again
    hues = (n * 0.618034 % 1.0 for n in range(10_000))
    new = (
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, 0.6 + 0.35 * (n % 2)))
        for n, hue in enumerate(hues)
    )
    colors = []
    for color in given:
        if color is None:
            color = next(candidate for candidate in new if candidate not in taken)
            taken.add(color)
        colors.append(color)
    return colors


def _register(
    name: str, description: Description, part: Part, space: LabelSpace, own_table: bool = True
) -> Table:
    # returns the table of its label files
    if part.labels is None:
        entries = unlabelled_images(description, part)
    else:
        entries, table = labelled_images(description, part, own_table)
        space = replace(space, table=table)
    register_dataset(name, lambda: [dict(entry) for entry in entries], space)
    MetadataCatalog.get(name).set(weight=part.weight, description=str(description.path))
    logger.info("%s: %d images", name, len(entries))
    return space.table


def _register_union(name: str, members: Sequence[str], space: LabelSpace) -> None:
    def entries() -> list[DatasetDict]:
        return [
            {**entry, "dataset": member}
            for member in members
            for entry in DatasetCatalog.get(member)
        ]

    register_dataset(name, entries, space)
