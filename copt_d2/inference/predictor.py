"""A loaded model: images in, classes out, as the evaluation predicts them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from numpy import ndarray
from torch import Tensor

from ..data import TestMapper
from ..data.reading import MAX_BITS
from ..errors import InputError
from ..evaluation.arg_max import predicted_classes
from ..modeling.meta_arch import UDASegmentor
from .pictures import as_picture
from .result import Result


class Predictor:
    """Predicts the classes of images; of a file exactly what the evaluation predicts of it.

    Attributes:
        classes: names by train id.
        palette: RGB of each class, 0..255.
        words: synonyms of each class; the first one names it.
        things: train ids of countable objects.
        bit_depth: how many bits of 16-bit images count.
    """

    def __init__(
        self,
        network: UDASegmentor,
        mapper: TestMapper,
        *,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        words: Sequence[Sequence[str]] = (),
        things: Sequence[int] = (),
        bit_depth: int = MAX_BITS,
    ) -> None:
        self._network = network.eval()
        self._mapper = mapper
        self.classes = tuple(classes)
        self.palette = tuple(tuple(color) for color in palette)
        self.words = tuple(tuple(synonyms) for synonyms in words or ([c] for c in classes))
        self.things = tuple(things)
        self.bit_depth = bit_depth
        self._half = False

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._network.device

    def half(self) -> "Predictor":
        """From now on the network computes in bfloat16 where that is safe: faster on a GPU, and not
        equal to the evaluation any more. Returns itself.
        """
        self._half = True
        return self

    def predict(self, images: Any) -> Result | list[Result]:
        """Classes and confidence of an image, or of each of a list.

        Args:
            images: path, PIL image or (H, W, 3) uint8 RGB array, or a list or tuple of these.
        Raises:
            InputError: a ValueError of one line, if it is none of these or cannot be read.
        """
        if isinstance(images, (list, tuple)):
            return [self.predict_one(image) for image in images]
        return self.predict_one(images)

    __call__ = predict

    def predict_one(self, image: Any) -> Result:
        """The same of one image."""
        return next(self.predict_batch([as_picture(image, self.bit_depth)]))

    def predict_batch(
        self, pictures: Sequence[tuple[ndarray, str]], confidence: bool = True
    ) -> Iterator[Result]:
        """Results of some images; those of one size go through the network at once.

        Several at once may differ in the last bits from one by one.

        Args:
            pictures: (H, W, 3) uint8 RGB and a name for messages, each.
            confidence: whether it is computed; else it is 1 everywhere.
        Raises:
            InputError: if an image does not fit the network or the memory.
        """
        with torch.inference_mode():
            samples = [self._mapper.sample(*picture) for picture in pictures]
            same = len({sample["image"].shape for sample in samples}) == 1
            logits = self._together(samples) if same else map(self._alone, samples)
            for (picture, name), values in zip(pictures, logits, strict=True):
                yield self._result(picture, name, values, confidence)

    def _together(self, samples: Sequence[dict[str, Any]]) -> Iterator[Tensor]:
        """(K, height, width) float logits of each; the same steps as `UDASegmentor.inference`."""
        if len(samples) == 1:
            return iter([self._alone(samples[0])])
        images = torch.stack([sample["image"] for sample in samples]).to(self.device)
        with self._precision(), _named_errors(samples[0]):
            logits = self._network.predict(self._network.preprocessor.normalise(images))
        size = tuple(images.shape[-2:])
        pairs = zip(samples, logits, strict=True)
        return (sem_seg_postprocess(v, size, s["height"], s["width"]) for s, v in pairs)

    def _alone(self, sample: dict[str, Any]) -> Tensor:
        with self._precision(), _named_errors(sample):
            return self._network.inference([sample])[0]["sem_seg"]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)

    def _result(self, picture: ndarray, name: str, logits: Tensor, confidence: bool) -> Result:
        classes = predicted_classes(logits, name)
        if classes.shape != picture.shape[:2]:
            raise InputError(f"the prediction of {name} is {tuple(classes.shape)} pixels")
        if confidence:
            largest = logits.float().softmax(dim=0).amax(dim=0).clamp(max=1).cpu().numpy()
        else:
            largest = np.broadcast_to(np.float32(1), picture.shape[:2])
        return Result(
            image=picture,
            mask=classes.byte().cpu().numpy(),
            confidence=largest,
            classes=self.classes,
            palette=self.palette,
        )


@contextmanager
def _named_errors(sample: dict[str, Any]) -> Iterator[None]:
    """What the network cannot take is said in one line that names the image."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{sample['file_name']}, {sample['width']}x{sample['height']} pixels, does not fit the "
            "device's memory: lower --batch, give smaller images, or use --device cpu"
        ) from error
    except RuntimeError as error:
        raise InputError(
            f"{sample['file_name']}, {sample['width']}x{sample['height']} pixels, cannot be "
            f"predicted by this network ({str(error).splitlines()[0][:160]})"
        ) from error
