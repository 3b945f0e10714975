import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2.errors import InputError
from copt_d2.evaluation import IoUEvaluator

NAME = "test_evaluation_pair"
CLASSES = ["road", "car", "sky"]
# class 1 is labelled, but never predicted; class 2 is predicted on an ignored pixel only
LABELS = {
    "a.png": np.array([[0, 0, 1], [255, 0, 1]], dtype=np.uint8),
    "b.png": np.array([[0, 1]], dtype=np.uint8),
}
PREDICTIONS = {"a": [[0, 0, 0], [2, 0, 0]], "b": [[0, 0]]}


@pytest.fixture
def dataset():
    files = [{"file_name": stem, "sem_seg_file_name": f"{stem}.png"} for stem in PREDICTIONS]
    DatasetCatalog.register(NAME, lambda: files)
    MetadataCatalog.get(NAME).set(
        stuff_classes=CLASSES, evaluation_classes=[0, 1, 2], ignore_label=255
    )
    yield files
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def build(**options):
    evaluator = IoUEvaluator(
        NAME, sem_seg_loading_fn=LABELS.__getitem__, distributed=False, **options
    )
    evaluator.reset()
    return evaluator


def logits(prediction):
    """(K, H, W) whose arg-max is ``prediction``."""
    one_hot = torch.nn.functional.one_hot(torch.tensor(prediction), len(CLASSES))
    return {"sem_seg": one_hot.permute(2, 0, 1).float()}


def scores_of(evaluator, files):
    for sample in files:
        evaluator.process([sample], [logits(PREDICTIONS[sample["file_name"]])])
    return evaluator.evaluate()["sem_seg"]


def test_one_matrix_over_the_data_set(dataset):
    scores = scores_of(build(), dataset)
    # labelled pixels: 4 road, 3 car; all predicted as road
    assert scores["IoU-road"] == pytest.approx(100 * 4 / 7)
    assert scores["IoU-car"] == 0
    assert scores["Acc-road"] == 100
    assert scores["Acc-car"] == 0
    assert scores["aAcc"] == pytest.approx(100 * 4 / 7)
    assert scores["images"] == 2
    # the mean of the images' IoUs of road would be (3/5 + 1/2) / 2 = 0.55
    assert scores["mIoU"] == pytest.approx(100 * 4 / 7 / 2)


def test_predictions_on_ignored_pixels_do_not_count(dataset):
    scores = scores_of(build(), dataset)
    assert math.isnan(scores["IoU-sky"])
    assert math.isnan(scores["Acc-sky"])


def test_a_subset_of_classes_and_a_batch(dataset):
    evaluator = build(classes=[0])
    evaluator.process(dataset, [logits(PREDICTIONS[s["file_name"]]) for s in dataset])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100 * 4 / 7)


def test_the_data_sets_own_subset(dataset):
    MetadataCatalog.get(NAME).evaluation_classes.remove(1)
    assert scores_of(build(), dataset)["mIoU"] == pytest.approx(100 * 4 / 7)


def test_reset_forgets(dataset):
    evaluator = build()
    first = scores_of(evaluator, dataset)
    evaluator.reset()
    assert scores_of(evaluator, dataset) == pytest.approx(first, nan_ok=True)


def test_a_label_of_another_size_is_named(dataset):
    evaluator = build()
    with pytest.raises(InputError, match=r"a\.png is 3x2 pixels, its image a 2x1"):
        evaluator.process(dataset[:1], [logits(PREDICTIONS["b"])])
