"""Class names, palettes, thing classes, and tables from stored label values to train ids."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

IGNORE_INDEX = 255
UNKNOWN = 254  # in a table: a value that no label file of the data set holds, unless it is damaged

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set and how its label files store them.

    Attributes:
        classes: name of each train id, plain words that a text encoder understands.
        palette: RGB colour of each train id, 0..255.
        things: train ids of the countable objects (the classes of the ImageNet feature distance).
        table: 256 train ids, indexed by the value stored in a label file; 255 = ignored,
            254 = no value of this data set.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    things: tuple[int, ...]
    table: tuple[int, ...]


def id_table(train_ids: dict[int, int], ignored: Iterable[int] = range(256)) -> tuple[int, ...]:
    """Stored value -> train id for all 256 values.

    Args:
        train_ids: train id of each stored value that counts.
        ignored: the other values that a label file may hold, beside 255; those in neither are
            errors of the file.
    Returns:
        256 train ids, 255 = ignored, 254 = no value of this data set.
    """
    known = dict.fromkeys((*ignored, IGNORE_INDEX), IGNORE_INDEX) | train_ids
    return tuple(known.get(value, UNKNOWN) for value in range(256))


def train_id_table(num_classes: int) -> tuple[int, ...]:
    """The table of files that store train ids 0..``num_classes`` - 1 as they are, and 255."""
    return id_table({train_id: train_id for train_id in range(num_classes)}, ignored=())


# name, id in Cityscapes' and GTA's label files, colour; the position is the train id
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)

CITYSCAPES_CLASSES = tuple(name for name, _, _ in _CITYSCAPES)
CITYSCAPES_PALETTE = tuple(color for _, _, color in _CITYSCAPES)
CITYSCAPES_IDS = tuple(label_id for _, label_id, _ in _CITYSCAPES)  # train id -> id in the files
# what SYNTHIA has: all but terrain, truck, train; and without wall, fence, pole, too
CITYSCAPES_16 = tuple(k for k in range(len(_CITYSCAPES)) if k not in (9, 14, 16))
CITYSCAPES_13 = tuple(k for k in CITYSCAPES_16 if k not in (3, 4, 5))
CITYSCAPES_THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)

# Cityscapes' ids end at 33, GTA's at 34 (license plate)
CITYSCAPES = LabelSpace(
    classes=CITYSCAPES_CLASSES,
    palette=CITYSCAPES_PALETTE,
    things=CITYSCAPES_THINGS,
    table=id_table(
        {label_id: train_id for train_id, label_id in enumerate(CITYSCAPES_IDS)}, range(35)
    ),
)

# `_gt_labelTrainIds.png` of ACDC and Dark Zurich
CITYSCAPES_TRAIN_IDS = replace(CITYSCAPES, table=train_id_table(len(CITYSCAPES_CLASSES)))

# train id -> id in SYNTHIA's files. All other values are ignored: void (0), parking slot (13), road
# work (14), lane marking (22) and the rest. Terrain (16), truck (18) and train (20) never occur in
# RAND-CITYSCAPES.
SYNTHIA_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)
SYNTHIA = replace(
    CITYSCAPES,
    table=id_table({label_id: train_id for train_id, label_id in enumerate(SYNTHIA_IDS)}),
)

# Colours follow Cityscapes where the class exists there, so that pictures of both read alike.
_CAMVID = (
    ("sky", (70, 130, 180)),
    ("building", (70, 70, 70)),
    ("pole", (153, 153, 153)),
    ("road", (128, 64, 128)),
    ("pavement", (244, 35, 232)),
    ("tree", (107, 142, 35)),
    ("sign symbol", (220, 220, 0)),
    ("fence", (190, 120, 90)),
    ("car", (0, 0, 142)),
    ("pedestrian", (220, 20, 60)),
    ("bicyclist", (119, 11, 32)),
)

CAMVID = LabelSpace(
    classes=tuple(name for name, _ in _CAMVID),
    palette=tuple(color for _, color in _CAMVID),
    things=(6, 8, 9, 10),
    # train ids are stored as they are; 11 = unlabelled
    table=id_table({train_id: train_id for train_id in range(len(_CAMVID))}, ignored=(11,)),
)
CAMVID_FENCE = 7

# files with Cityscapes' ids read as CamVid's classes: Cityscapes' name -> CamVid's where they
# differ; terrain has no counterpart
_CAMVID_NAMES = {
    **{"sidewalk": "pavement", "vegetation": "tree", "person": "pedestrian", "wall": "building"},
    **{"traffic light": "sign symbol", "traffic sign": "sign symbol"},
    **{"truck": "car", "bus": "car", "train": "car"},
    **{"rider": "bicyclist", "bicycle": "bicyclist", "motorcycle": "bicyclist"},
}
CITYSCAPES_AS_CAMVID = replace(
    CAMVID,
    table=id_table(
        {
            label_id: CAMVID.classes.index(_CAMVID_NAMES.get(name, name))
            for name, label_id, _ in _CITYSCAPES
            if name != "terrain"
        },
        range(35),
    ),
)
