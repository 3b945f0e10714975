"""Images that show their own prediction, for the evaluation without a trained network."""

from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import get_cfg

from copt_d2 import add_copt_config
from copt_d2.data import register_dataset
from copt_d2.data.label_spaces import CITYSCAPES
from copt_d2.engine import evaluate

HEIGHT, WIDTH = 6, 8
STEP = 10  # grey value of an image = STEP times the train id that is predicted
CONDITIONS = ("fog", "night", "rain", "snow")


def image_name(index):
    return f"GP0{index}_frame_{index:06}_rgb_anon.png"


def predictions(index):
    """(H, W) uint8 train ids that the image of this number shows."""
    generator = np.random.default_rng([index, 0])
    return generator.integers(0, 19, (HEIGHT, WIDTH)).astype(np.uint8)


def labels(index):
    """(H, W) uint8: mostly the predictions, some pixels of another class, some ignored."""
    generator = np.random.default_rng([index, 1])
    drawn = generator.integers(0, 19, (HEIGHT, WIDTH)).astype(np.uint8)
    found = np.where(generator.random((HEIGHT, WIDTH)) < 0.2 * (index % 4), drawn, 0)
    found = np.where(found > 0, found, predictions(index))
    return np.where(generator.random((HEIGHT, WIDTH)) < 0.1, 255, found).astype(np.uint8)


def draw_images(root, count):
    """Writes images and Cityscapes id maps below ``root / "adverse"``."""
    ids = np.array([*(CITYSCAPES.table.index(k) for k in range(19)), *[0] * 237], dtype=np.uint8)
    (root / "adverse").mkdir(parents=True)
    for index in range(count):
        image = cv2.merge([STEP * predictions(index)] * 3)
        cv2.imwrite(str(root / "adverse" / image_name(index)), image)
        cv2.imwrite(str(root / "adverse" / f"labels{index}.png"), ids[labels(index)])


def register(name, root, count, conditions=CONDITIONS, labelled=True):
    """Registers the images under a name; image k has condition k modulo their number."""

    def entries():
        for index in range(count):
            entry = {"file_name": str(root / "adverse" / image_name(index)), "image_id": str(index)}
            if conditions:
                entry["condition"] = conditions[index % len(conditions)]
            if labelled:
                entry["sem_seg_file_name"] = str(root / "adverse" / f"labels{index}.png")
            yield entry

    register_dataset(name, lambda: list(entries()), CITYSCAPES)


class Reader(torch.nn.Module):
    """Reads the train ids from the grey values; logits 5 and 0."""

    def forward(self, batch):
        ids = [(sample["image"][0].long() / STEP).round().long() for sample in batch]
        one_hot = [torch.nn.functional.one_hot(i, 19).permute(2, 0, 1) for i in ids]
        return [{"sem_seg": 5.0 * logits} for logits in one_hot]


def config_of(name, output, formats=(), pictures=0):
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.TEST.EXPORT = formats
    cfg.TEST.PICTURES = pictures
    cfg.OUTPUT_DIR = str(output)
    return cfg


def evaluate_as_rank(rank, port, name, root, count, output, formats):
    """One of two processes that share an evaluation."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    register(name, Path(root), count)
    evaluate(config_of(name, output, formats), Reader().eval())
    torch.distributed.destroy_process_group()
