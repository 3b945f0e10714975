"""The images of a description's data sets, each with a label file that training reads."""

import hashlib
import logging
from functools import partial
from pathlib import Path

from ..label_spaces import CAMVID, CITYSCAPES, train_id_table
from ..layouts import DatasetDict
from .convert import Digests, Item, Plan, write_train_ids
from .files import IMAGE_ENDINGS, VIDEO_ENDINGS, Found, complete, list_found, match
from .masks import MaskReader, table_of_colors, table_of_ids, values_of
from .objects import PLANS
from .schema import Description, FileSet, Part
from .video import extract_frames

logger = logging.getLogger("copt_d2.data")
SPACES = {"cityscapes": CITYSCAPES, "camvid": CAMVID}
Table = tuple[int, ...]


def place_of(description: Description, part: Part) -> str:
    """The file and key of a data set, with which its messages begin."""
    return f"{description.path}: {part.key}"


def list_images(part: Part, where: str) -> list[Found]:
    """The images of a data set; frames of videos are extracted.

    Args:
        part: of a description.
        where: file and key of the description, for messages.
    Raises:
        InputError: if there are none, or a video cannot be read.
    """
    found = []
    for place in part.images.places:
        if place.suffix.lower() in VIDEO_ENDINGS and place.is_file():
            frames = extract_frames(place, part.every, where)
            found += [Found(Path(frame).stem, frame) for frame in frames]
        else:
            here = FileSet((place,), part.images.suffix)
            found += list_found(here, IMAGE_ENDINGS, f"{where}.images")
    return found


def unlabelled_images(description: Description, part: Part) -> list[DatasetDict]:
    """The images of a data set without labels: dicts with ``file_name`` and ``image_id``.

    Raises:
        InputError: if there are none.
    """
    images = list_images(part, place_of(description, part))
    return [{"file_name": image.path, "image_id": image.key} for image in images]


def labelled_images(
    description: Description, part: Part, own_table: bool = True
) -> tuple[list[DatasetDict], Table]:
    """The images of a labelled data set and their label files, in a form that training reads.

    Args:
        description: the whole.
        part: one data set of it, with labels.
        own_table: whether masks of ids may stay as they are, with a table of their own; else they
            are turned into train ids, too.
    Returns:
        dicts with ``file_name``, ``image_id`` and ``sem_seg_file_name``, and the table of 256 from
        stored values to train ids.
    Raises:
        InputError: for whatever does not fit, in one line.
    """
    where = place_of(description, part)
    images = list_images(part, where)
    keys = {image.path: image.key for image in images}
    table = train_id_table(len(description.classes))
    if part.labels.form == "masks":
        pairs, table = _of_masks(description, part, images, where, own_table)
    else:
        pairs = _written(PLANS[part.labels.form](description, part, images, where), where)
    entries = [
        {"file_name": image, "image_id": keys[image], "sem_seg_file_name": label}
        for image, label in pairs
    ]
    return entries, table


def _written(plan: Plan, where: str) -> list[tuple[str, str]]:
    written = write_train_ids([item for _, item in plan.pairs], plan.recipe, where)
    plan.finish()
    return [(image, label) for (image, _), label in zip(plan.pairs, written, strict=True)]


def _of_masks(
    description: Description, part: Part, images: list[Found], where: str, own_table: bool
) -> tuple[list[tuple[str, str]], Table]:
    labels = part.labels
    masks = list_found(labels.files, IMAGE_ENDINGS, f"{where}.masks")
    pairs = complete(match(images, masks, where), part.skip_missing, where)
    files = [mask for _, mask in pairs]
    values, direct = values_of(files, labels, description.classes, where)
    if values == "colors":
        table = table_of_colors(description)
    else:
        space = SPACES.get(description.label_space)
        table = table_of_ids(description, labels, () if space is None else space.table)
    if direct and own_table:
        logger.info("%s: %d masks of ids, read as they are", where, len(pairs))
        return pairs, tuple(int(value) for value in table[:256])
    reader = MaskReader(values, table)
    digests = Digests(f"{where}.masks").of(files, f"reading masks of {part.key}")
    plan = Plan(
        [
            (image, Item(Path(mask).stem, digest, partial(reader, mask)))
            for (image, mask), digest in zip(pairs, digests, strict=True)
        ],
        hashlib.sha256(table.tobytes() + values.encode()).hexdigest(),
        partial(reader.refuse_unknown, where),
    )
    return _written(plan, where), train_id_table(len(description.classes))
