from itertools import islice

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from copt_d2.data import build_uda_train_loader
from copt_d2.data.draws import draw_index, image_weights
from copt_d2.data.rare_class import RareClassSampler
from copt_d2.errors import InputError


@pytest.fixture
def sets():
    """Registers names with a weight; they go again."""
    added = []

    def add(**weights):
        for name, weight in weights.items():
            MetadataCatalog.get(name).set(weight=weight)
            added.append(name)
        return list(weights)

    yield add
    for name in added:
        MetadataCatalog.remove(name)


def entries(**counts):
    return [{"dataset": name} for name, count in counts.items() for _ in range(count)]


def test_a_weight_is_shared_by_the_images(sets):
    names = sets(few=3, many=1)
    weights = image_weights(names, entries(few=2, many=4))
    assert weights.tolist() == pytest.approx([3 / 8, 3 / 8, *[1 / 16] * 4])


def test_a_set_without_weight_beside_others_has_one(sets):
    weights = image_weights(sets(few=3, many=None), entries(few=1, many=2))
    assert weights.tolist() == pytest.approx([3 / 4, 1 / 8, 1 / 8])


@pytest.mark.parametrize("weights", [{"a": None, "b": None}, {"a": 5}])
def test_nothing_to_weigh(sets, weights):
    assert image_weights(sets(**weights), entries(a=2)) is None


def test_draws_follow_the_weights():
    rng = np.random.default_rng(0)
    drawn = [draw_index(rng, np.array([1.0, 0.0, 3.0]), 3) for _ in range(400)]
    assert drawn.count(1) == 0
    assert drawn.count(2) == pytest.approx(300, abs=40)


def test_without_weights_the_draw_is_numpys():
    assert draw_index(np.random.default_rng(3), None, 50) == np.random.default_rng(3).integers(50)


def test_rare_classes_weigh_the_images_within_a_class():
    pixels = np.array([[50, 20], [50, 20], [90, 0]])
    sampler = RareClassSampler(pixels, 0.01, 10, ["a", "b"], weights=np.array([0.9, 0.0, 0.1]))
    rng = np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(50)]
    assert (1, 1) not in drawn
    assert (1, 0) in drawn


def test_a_class_of_few_pixels_is_drawn_from_what_shows_most():
    pixels = np.array([[900, 4], [900, 9], [900, 0]])
    with pytest.raises(InputError, match="class 'b' has no source image"):
        RareClassSampler(pixels, 0.01, 100, ["a", "b"])
    sampler = RareClassSampler(pixels, 0.01, 100, ["a", "b"], lenient=True)
    assert sampler.images[1].tolist() == [1]  # more than half of 9
    assert sampler.lowered == {1: 4 / 100}


@pytest.fixture
def labels_of_dusk(folder, day_and_dusk):
    """Labels of the dusk images."""
    for path in sorted((folder.root / "camvid" / "train").glob("0001TP*")):
        labels = np.zeros((19, 27), dtype=np.uint8)
        labels[9:] = 3
        folder.label(f"camvid/trainannot/{path.name}", labels)


def labelled(cfg, count, share, start=0):
    """The source's file names, of a few labelled dusk images with this share."""
    cfg.DATASETS.TARGET_LABELED = ("camvid_dusk_train_labeled",)
    cfg.DATASETS.TARGET_LABELED_SHARE = share
    found = islice(build_uda_train_loader(cfg, start), count)
    return [sample["file_name"] for batch in found for sample in batch["source"]]


@pytest.mark.parametrize("rare_class", [True, False])
def test_labelled_target_images_take_a_share_of_the_source(cfg, labels_of_dusk, rare_class):
    cfg.DATALOADER.RARE_CLASS.ENABLED = rare_class
    files = labelled(cfg, 60, 0.25)
    dusk = ["0001TP" in file for file in files]
    assert sum(dusk) / len(dusk) == pytest.approx(0.25, abs=0.1)
    assert labelled(cfg, 20, 0.25, start=40) == files[80:]  # as a resumed run
    assert all("0001TP" in file for file in labelled(cfg, 4, 1.0))


def test_labelled_target_images_need_labels(cfg, day_and_dusk):
    cfg.DATASETS.TARGET_LABELED = ("camvid_dusk_train",)
    with pytest.raises(InputError, match=r"DATASETS\.\w+ names 'camvid_dusk_train', which has no"):
        build_uda_train_loader(cfg)
