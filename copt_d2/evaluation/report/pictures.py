"""Predictions of several runs beside the ground truth (the paper's Figure 6)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import cv2
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from ...errors import InputError
from ..pictures import prediction_sheet
from .runs import Measurement

UNCHANGED = np.arange(256, dtype=np.uint8)  # train ids are stored as they are


@dataclass(frozen=True)
class Readers:
    """What opens the files.

    Attributes:
        image: file of a data set, its name -> (H, W, 3) uint8 RGB.
        train_ids: label file, (256,) table of stored values -> (H, W) uint8 train ids.
    """

    image: Callable[[str, str], np.ndarray]
    train_ids: Callable[[str | Path, np.ndarray], np.ndarray]


def _exported(measurement: Measurement) -> Path:
    return measurement.folder / "export" / measurement.dataset / "train_ids"


def split_by_export(
    measurements: Sequence[Measurement],
) -> tuple[list[Measurement], list[str]]:
    """Those whose predictions were exported, and for each other the command that exports them;
    what is not its run's result is left out.
    """
    measurements = [m for m in measurements if not m.is_other]
    exported = [m for m in measurements if _exported(m).is_dir()]
    hints = [
        f"{m.folder}: no predictions of {m.dataset}; make them with: copt eval "
        f"--config-file {quote(str(m.config_file))} OUTPUT_DIR {quote(str(m.folder))} "
        "TEST.EXPORT \"('train_ids',)\""
        for m in measurements
        if not _exported(m).is_dir()
    ]
    return exported, hints


def write_sheets(
    measurements: Sequence[Measurement], report: Path, count: int, readers: Readers
) -> list[Path]:
    """Writes <report>_<data set>.png for each data set, beside the report.

    Args:
        measurements: with exported predictions, see `split_by_export`.
        report: the report's file.
        count: images of a sheet, spread over the data set.
        readers: of images and labels.
    Returns:
        The files.
    Raises:
        InputError: if images, labels or predictions are missing.
    """
    paths = []
    for dataset in dict.fromkeys(m.dataset for m in measurements):
        runs = [m for m in measurements if m.dataset == dataset]
        sheet = _draw_sheet(dataset, runs, count, readers)
        path = report.with_name(f"{report.stem}_{dataset}.png")
        _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        path.write_bytes(data)
        paths.append(path)
    return paths


def _draw_sheet(
    dataset: str, runs: Sequence[Measurement], count: int, readers: Readers
) -> np.ndarray:
    """(h, w, 3) uint8 RGB: image, each run's prediction and, where there is one, the truth."""
    if dataset not in DatasetCatalog.list():
        raise InputError(f"--pictures: there is no data set {dataset!r} (of {runs[0].folder})")
    files, metadata = DatasetCatalog.get(dataset), MetadataCatalog.get(dataset)
    table = np.asarray(metadata.label_table, dtype=np.uint8)
    is_labelled = all("sem_seg_file_name" in entry for entry in files)
    shown = np.unique(np.linspace(0, len(files) - 1, min(count, len(files)), dtype=int))

    def rows() -> Iterator[list[np.ndarray]]:
        for entry in (files[index] for index in shown):
            name = f"{Path(entry['file_name']).stem}.png"
            row = [readers.image(entry["file_name"], dataset)]
            row += [readers.train_ids(_exported(m) / name, UNCHANGED) for m in runs]
            if is_labelled:
                row.append(readers.train_ids(entry["sem_seg_file_name"], table))
            yield row

    titles = ["image", *(m.method for m in runs), *(["ground truth"] if is_labelled else [])]
    return prediction_sheet(rows(), titles, metadata.stuff_classes, metadata.stuff_colors)
