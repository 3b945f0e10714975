"""Predictions as files: for viewing, for other programs, and for the test servers."""

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from ..errors import InputError
from .arg_max import predicted_classes
from .pictures import colour_map

MAX_16_BIT = 65535
CITYSCAPES_NAME = re.compile(r"[^_]+_\d+_\d+")  # {city}_{sequence}_{frame}


@dataclass(frozen=True)
class Prediction:
    """What is known of one image.

    Attributes:
        logits: (K, H, W) float.
        train_ids: (H, W) uint8, their arg-max.
        palette: RGB of each train id, 0..255.
        label_ids: id of each train id in Cityscapes' files.
    """

    logits: Tensor
    train_ids: np.ndarray
    palette: Sequence[Sequence[int]]
    label_ids: Sequence[int]


def _train_ids(prediction: Prediction) -> np.ndarray:
    return prediction.train_ids


def _color(prediction: Prediction) -> np.ndarray:
    colours = colour_map(prediction.train_ids, prediction.palette)
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR)  # the order in which OpenCV writes


def _label_ids(prediction: Prediction) -> np.ndarray:
    return np.asarray(prediction.label_ids, dtype=np.uint8)[prediction.train_ids]


def _confidence(prediction: Prediction) -> np.ndarray:
    """(H, W) uint16, 65535 times the largest softmax probability."""
    largest = prediction.logits.float().softmax(dim=0).amax(dim=0)
    return (MAX_16_BIT * largest).round().cpu().numpy().astype(np.uint16)


@dataclass(frozen=True)
class ExportFormat:
    """How the predictions of a data set are laid out.

    Attributes:
        folders: sub-folder ("" = none) -> what the PNG of an image holds there.
        is_submission: for a server: Cityscapes' 19 classes, and a zip beside the folder.
    """

    folders: dict[str, Callable[[Prediction], np.ndarray]]
    is_submission: bool = True


FORMATS = {
    "train_ids": ExportFormat({"": _train_ids}, is_submission=False),
    "color": ExportFormat({"": _color}, is_submission=False),
    "cityscapes": ExportFormat({"": _label_ids}),
    "acdc": ExportFormat({"labelTrainIds": _train_ids}),
    "dark_zurich": ExportFormat(
        # the server scores the first; it wants a file of the same name in the other two
        {
            "labelTrainIds": _train_ids,
            "labelTrainIds_invalid": _train_ids,
            "confidence": _confidence,
        }
    ),
}


def check_format_names(formats: Sequence[str]) -> None:
    """Says which formats there are.

    Raises:
        InputError: for a format that there is not, or one that is named twice.
    """
    choices = ", ".join(FORMATS)
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"TEST.EXPORT: there is no format {name!r}; choose from {choices}")
    if len(set(formats)) < len(formats):
        raise InputError(f"TEST.EXPORT {tuple(formats)} names a format twice")


def check_formats_fit(
    formats: Sequence[str],
    dataset_name: str,
    has_cityscapes_classes: bool,
    image_files: Sequence[str],
) -> None:
    """Whether the formats can hold the predictions of a data set.

    Args:
        formats: keys of FORMATS.
        dataset_name: for messages.
        has_cityscapes_classes: whether its train ids are Cityscapes' 19.
        image_files: its images.
    Raises:
        InputError: for a submission of other classes or file names, or images of one base name.
    """
    choices = ", ".join(name for name, built in FORMATS.items() if not built.is_submission)
    wrong = [name for name in formats if FORMATS[name].is_submission]
    if wrong and not has_cityscapes_classes:
        raise InputError(
            f"TEST.EXPORT {wrong[0]!r} is for the 19 classes of Cityscapes, which {dataset_name} "
            f"does not have; choose from {choices}"
        )
    unnamed = [file for file in image_files if not CITYSCAPES_NAME.match(Path(file).name)]
    if "cityscapes" in formats and unnamed:
        raise InputError(
            "TEST.EXPORT 'cityscapes' is for images named {city}_{sequence}_{frame}, "
            f"unlike {unnamed[0]} of {dataset_name}; choose from {choices}, or the data set's own"
        )
    unwritable = next((f for f in image_files if not _is_utf8(_file_name(f))), None)
    if wrong and unwritable is not None:
        raise InputError(
            f"TEST.EXPORT {wrong[0]!r} is packed in a zip, whose file names must be UTF-8, unlike "
            f"that of {unwritable} in {dataset_name}: rename it, or choose from {choices}"
        )
    names = Counter(_file_name(file) for file in image_files)
    repeated = [name for name, count in names.items() if count > 1]
    if formats and repeated:
        raise InputError(
            f"TEST.EXPORT {tuple(formats)}: several images of {dataset_name} would be written to "
            f"{repeated[0]}: give the images different base names"
        )


def _is_utf8(name: str) -> bool:
    return name == name.encode(errors="ignore").decode()


def _file_name(image_file: str) -> str:
    return f"{Path(image_file).stem}.png"


class Exporter(DatasetEvaluator):
    """Writes each prediction as soon as it is made; at the end rank 0 packs the submissions.

    Under ``folder`` there will be <format>/[<sub-folder>/]<image's base name>.png and, of a
    submission, <format>.zip. What an earlier export has left there is deleted at the start.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        *,
        image_files: Sequence[str],
        palette: Sequence[Sequence[int]],
        label_ids: Sequence[int],
    ) -> None:
        """Args:
        folder: of this data set's exports; all processes must see the same one.
        formats: keys of FORMATS, checked by `check_format_names` and `check_formats_fit`.
        image_files: the images of the data set.
        palette: RGB of each train id.
        label_ids: id of each train id in Cityscapes' files, for "cityscapes".
        """
        self._folder = folder
        self._formats = {name: FORMATS[name] for name in formats}
        self._names = [_file_name(file) for file in image_files]
        self._palette = palette
        self._label_ids = label_ids

    def reset(self) -> None:
        """Deletes the earlier export and makes the folders.

        Raises:
            InputError: if the folders cannot be written.
        """
        if comm.is_main_process():
            try:
                self._make_folders()
            except OSError as error:
                raise InputError(
                    f"{error.filename} cannot be written ({error.strerror}): choose another "
                    "OUTPUT_DIR, or leave TEST.EXPORT empty"
                ) from error
        comm.synchronize()  # nobody writes what is about to be deleted

    def _make_folders(self) -> None:
        for name, built in self._formats.items():
            self._archive(name).unlink(missing_ok=True)
            if (self._folder / name).exists():
                shutil.rmtree(self._folder / name)
            for folder in built.folders:
                (self._folder / name / folder).mkdir(parents=True)

    def process(
        self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Tensor]]
    ) -> None:
        """Writes the files of a batch.

        Raises:
            InputError: if a prediction has another size than its image, or is not finite.
            OSError: if a file cannot be written.
        """
        for sample, output in zip(inputs, outputs, strict=True):
            classes = predicted_classes(output["sem_seg"], sample["file_name"])
            train_ids = classes.byte().cpu().numpy()
            if train_ids.shape != (sample["height"], sample["width"]):
                raise InputError(
                    f"the prediction of {sample['file_name']} is {train_ids.shape[1]}x"
                    f"{train_ids.shape[0]} pixels, its image {sample['width']}x{sample['height']}"
                )
            known = Prediction(output["sem_seg"], train_ids, self._palette, self._label_ids)
            for name, built in self._formats.items():
                for folder, encode in built.folders.items():
                    path = self._folder / name / folder / _file_name(sample["file_name"])
                    _, data = cv2.imencode(".png", encode(known))
                    path.write_bytes(data)

    def evaluate(self) -> None:
        """Packs the submissions when all processes have written their files.

        Raises:
            InputError: if the file of an image is missing.
            OSError: if a zip cannot be written; there is none then.
        """
        comm.synchronize()
        if comm.is_main_process():
            for name, built in self._formats.items():
                if built.is_submission:
                    self._pack(name)

    def _archive(self, name: str) -> Path:
        return self._folder / f"{name}.zip"

    def _pack(self, name: str) -> None:
        temporary = self._archive(name).with_suffix(".zip.tmp")
        try:
            # PNG files do not become smaller
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for folder in self._formats[name].folders:
                    for file in self._names:
                        inside = Path(folder) / file
                        archive.write(self._folder / name / inside, inside.as_posix())
            os.replace(temporary, self._archive(name))
        except FileNotFoundError as error:
            raise InputError(
                f"{error.filename} is missing: OUTPUT_DIR must be a folder that all machines see"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
