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


# conditions and further means

CONDITIONS = {"fog1": "fog", "fog2": "fog", "night": "night"}
CONDITION_LABELS = {
    "fog1.png": [[0, 0, 1, 1]],
    "fog2.png": [[0, 255, 1, 2]],
    "night.png": [[0, 1, 1, 1, 1, 1, 1, 1]],
}
CONDITION_PREDICTIONS = {
    "fog1": [[0, 0, 1, 0]],
    "fog2": [[0, 1, 1, 2]],
    "night": [[1, 1, 1, 1, 1, 1, 1, 0]],
}


def adverse(monkeypatch, dataset, conditions=CONDITIONS, **options):
    """An evaluator of a set with conditions, and its files."""
    for stem, labels in CONDITION_LABELS.items():
        monkeypatch.setitem(LABELS, stem, np.array(labels, dtype=np.uint8))
    dataset[:] = [
        {"file_name": stem, "sem_seg_file_name": f"{stem}.png", "condition": condition}
        for stem, condition in conditions.items()
    ]
    return build(**options)


def evaluate_conditions(evaluator, files):
    for sample in files:
        evaluator.process([sample], [logits(CONDITION_PREDICTIONS[sample["file_name"]])])
    return evaluator.evaluate()


def test_one_matrix_for_each_condition(dataset, monkeypatch):
    parts = evaluate_conditions(adverse(monkeypatch, dataset), dataset)["conditions"]
    assert list(parts) == ["fog", "night"]
    # fog, labelled pixels: 3 road, 3 car, 1 sky; one car is taken for road
    assert parts["fog"]["IoU-road"] == pytest.approx(100 * 3 / 4)
    assert parts["fog"]["IoU-car"] == pytest.approx(100 * 2 / 3)
    assert parts["fog"]["IoU-sky"] == pytest.approx(100)
    assert parts["fog"]["mIoU"] == pytest.approx(100 * (3 / 4 + 2 / 3 + 1) / 3)
    assert parts["fog"]["images"] == 2
    # night: 1 road, 7 car; the road is taken for car, one car for road; no sky
    assert parts["night"]["IoU-road"] == 0
    assert parts["night"]["IoU-car"] == pytest.approx(100 * 6 / 8)
    assert math.isnan(parts["night"]["IoU-sky"])
    assert parts["night"]["mIoU"] == pytest.approx(100 * 3 / 8)
    assert parts["night"]["images"] == 1


def test_all_conditions_pool_pixels(dataset, monkeypatch):
    results = evaluate_conditions(adverse(monkeypatch, dataset), dataset)
    scores, parts = results["sem_seg"], results["conditions"]
    assert scores["IoU-road"] == pytest.approx(100 * 3 / 6)
    assert scores["IoU-car"] == pytest.approx(100 * 8 / 11)
    assert scores["mIoU"] == pytest.approx(100 * (3 / 6 + 8 / 11 + 1) / 3)
    assert scores["images"] == 3
    assert scores["mIoU-fog"] == parts["fog"]["mIoU"]
    mean_of_conditions = (parts["fog"]["mIoU"] + parts["night"]["mIoU"]) / 2
    assert abs(scores["mIoU"] - mean_of_conditions) > 5


def test_images_without_condition_count_in_the_pool_alone(dataset, monkeypatch):
    evaluator = adverse(monkeypatch, dataset)
    whole = evaluate_conditions(evaluator, dataset)["sem_seg"]
    for entry in dataset[:2]:
        del entry["condition"]
    results = evaluate_conditions(build(), dataset)
    assert list(results["conditions"]) == ["night"]
    assert results["sem_seg"]["mIoU"] == whole["mIoU"]
    assert results["sem_seg"]["images"] == 3


def test_further_means(dataset, monkeypatch):
    subsets = {"2": (0, 1), "1": (2,)}
    results = evaluate_conditions(adverse(monkeypatch, dataset, subsets=subsets), dataset)
    assert results["means"] == pytest.approx({"2": 100 * (3 / 6 + 8 / 11) / 2, "1": 100})
    assert results["means_cover"] == {"2": 2, "1": 1}
    assert results["sem_seg"]["mIoU-2"] == results["means"]["2"]
    assert results["sem_seg"]["mIoU"] == pytest.approx(100 * (3 / 6 + 8 / 11 + 1) / 3)


def test_no_conditions_and_no_means(dataset):
    evaluator = build()
    evaluator.process(dataset, [logits(PREDICTIONS[s["file_name"]]) for s in dataset])
    assert list(evaluator.evaluate()) == ["sem_seg"]
