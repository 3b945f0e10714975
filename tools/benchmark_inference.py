"""Seconds of one image's prediction by part of the network, images a second, peak memory.

python tools/benchmark_inference.py [--config-file F] [--size H W] [--repeats N] [KEY VALUE ...]

Without --config-file: CoPT's network for GTA -> Cityscapes with MiT-B0, windows of 512 pixels.
"""

import argparse
import os
import sys

# as train_net.py sets it
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import copt_d2  # noqa: F401  isort: skip  (before detectron2, whose warning at import it silences)

import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from copt_d2.engine import check_config, load_config
from copt_d2.engine.measuring import Stopwatch, describe_machine, describe_memory
from copt_d2.errors import InputError
from copt_d2.modeling.sliding_window import window_boxes

DEFAULT = "gta2cs"
# the default's sizes for an ordinary computer
SMALL = (
    *("MODEL.MIT.VARIANT", "b0", "MODEL.MIT.WEIGHTS", "", "MODEL.HRDA.CROP_SIZE", "256"),
    *("TEST.WINDOW", "(512, 512)", "TEST.STRIDE", "(256, 256)"),
)
PARTS = {"backbone": "encoder", "sem_seg_head": "decoder", "attention_head": "scale attention"}
REST = "resizing and averaging"
WARM_UP = 2
TOLERANCE = 1e-3  # of logits of order 1: float32 sums in another order


class PartClock:
    """Books the seconds of each part of the student, over all windows of an image."""

    def __init__(self, student: nn.Module, device: torch.device) -> None:
        self.watch = Stopwatch(device)
        self.inside: dict[str, float] = {}
        for name, part in PARTS.items():
            if hasattr(student, name):
                self._time(getattr(student, name), part)

    def _time(self, module: nn.Module, part: str) -> None:
        # decoders are called through ``layers``, which hooks of modules do not see
        method = "layers" if hasattr(module, "layers") else "forward"
        original = getattr(module, method)

        def timed(*arguments: object) -> object:
            start = self.watch.now()
            result = original(*arguments)
            self.inside[part] = self.inside.get(part, 0.0) + self.watch.now() - start
            return result

        setattr(module, method, timed)

    def image_done(self, seconds: float) -> None:
        """Closes an image that took ``seconds`` as a whole."""
        rest = seconds - sum(self.inside.values())
        for part, inside in {**self.inside, REST: rest}.items():
            self.watch.seconds[part].append(inside)
        self.inside = {}


def windows_one_by_one(model: nn.Module, image: Tensor) -> tuple[Tensor, int]:
    """The definition: the mean of the windows' logits at each pixel; and the number of windows."""
    images = model.preprocessor.normalise(image.to(model.device)).unsqueeze(0)
    size = tuple(images.shape[-2:])
    window = model.test_window or size
    boxes = window_boxes(size, window, model.test_stride or window)
    total, count = 0.0, 0.0
    for y1, y2, x1, x2 in boxes:
        logits = model.student.predict(images[..., y1:y2, x1:x2])
        border = (x1, size[1] - x2, y1, size[0] - y2)
        total = total + nn.functional.pad(logits, border)
        count = count + nn.functional.pad(torch.ones_like(logits), border)
    return (total / count)[0], len(boxes)


@torch.no_grad()
def time_images(model: nn.Module, image: Tensor, repeats: int) -> tuple[Stopwatch, int]:
    """Predicts the same image again and again.

    Raises:
        InputError: if the prediction is not the mean over its windows: no time of a wrong result.
    """
    expected, windows = windows_one_by_one(model, image)
    found = model.inference([{"image": image}])[0]["sem_seg"]
    if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise InputError("the prediction differs from the mean over its windows: not timed")
    clock = PartClock(model.student, model.device)
    for repeat in range(WARM_UP + repeats):
        start = clock.watch.now()
        model.inference([{"image": image}])
        seconds = clock.watch.now() - start
        if repeat < WARM_UP:
            clock.inside = {}
        else:
            clock.image_done(seconds)
    return clock.watch, windows


def main(argv: list[str] | None = None) -> None:
    """Reads the config, builds the network, times it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    file = arguments.config_file or DEFAULT
    options = [*([] if arguments.config_file else SMALL), *arguments.opts]
    try:
        if min(*arguments.size, arguments.repeats) < 1:
            raise InputError("--size and --repeats must be 1 or more")
        cfg = load_config(file, options)
        cfg.DATASETS.TEST = ()  # none is read
        check_config(cfg, training=False)
        cfg.MODEL.UDA.PHASES = ("source",)
        cfg.MODEL.UDA.FEATURE_LOSSES = cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ()
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        image = torch.randint(0, 256, (3, *arguments.size), dtype=torch.uint8)
        watch, windows = time_images(model, image, arguments.repeats)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    total = sum(watch.medians().values())
    height, width = arguments.size
    print(f"{file}: {describe_machine()}")
    print(watch.table())
    print(f"image of {height}x{width}, windows: {windows}")
    print(f"image {total:.3f} s, {1 / total:.2f} images/s\n{describe_memory()}")


if __name__ == "__main__":
    main()
