from itertools import islice

import numpy as np
import pytest
import torch
from detectron2.data.samplers import InferenceSampler

from copt_d2.data import build_uda_test_loader, build_uda_train_loader, loader
from copt_d2.errors import InputError


def batches(cfg, count, start=0):
    return list(islice(build_uda_train_loader(cfg, start), count))


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for domain in ("source", "target"):
            for x, y in zip(a[domain], b[domain], strict=True):
                assert x.keys() == y.keys()
                assert x["file_name"] == y["file_name"]
                assert all(torch.equal(x[k], y[k]) for k in x if k != "file_name")


def test_batch_of_both_domains(cfg, day_and_dusk):
    cfg.SOLVER.IMS_PER_BATCH = 3
    (batch,) = batches(cfg, 1)
    assert [len(batch[domain]) for domain in ("source", "target")] == [3, 3]
    assert all("0006R0" in sample["file_name"] for sample in batch["source"])
    assert all("0001TP" in sample["file_name"] for sample in batch["target"])
    assert batch["source"][0]["sem_seg"].shape == (9, 13)
    assert "sem_seg" not in batch["target"][0]


def test_no_target(cfg, day_and_dusk):
    cfg.DATASETS.TARGET = ()
    (batch,) = batches(cfg, 1)
    assert batch["target"] == []
    assert len(batch["source"]) == 2


@pytest.mark.parametrize("rare_class", [True, False])
def test_resuming_equals_running_through(cfg, day_and_dusk, rare_class):
    cfg.DATALOADER.RARE_CLASS.ENABLED = rare_class
    cfg.INPUT.PHOTOMETRIC_DISTORTION = True
    cfg.INPUT.SCALE_RANGE = (0.8, 1.5)
    assert_equal(batches(cfg, 8)[5:], batches(cfg, 3, start=5))


def test_workers_do_not_change_the_samples(cfg, day_and_dusk):
    alone = batches(cfg, 6)
    cfg.DATALOADER.NUM_WORKERS = 2
    assert_equal(alone, batches(cfg, 6))


def test_processes_share_the_batch(cfg, day_and_dusk, monkeypatch):
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.DATALOADER.RARE_CLASS.ENABLED = False  # needs a process group on more than one
    whole = batches(cfg, 3)
    monkeypatch.setattr(loader.comm, "get_world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(loader.comm, "get_rank", lambda rank=rank: rank)
        part = [
            {domain: samples[2 * rank : 2 * rank + 2] for domain, samples in batch.items()}
            for batch in whole
        ]
        assert_equal(batches(cfg, 3), part)


def test_seeds_and_domains_have_their_own_streams(cfg, day_and_dusk):
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    first = batches(cfg, 20)
    cfg.SEED = 1
    second = batches(cfg, 20)

    def names(batches, domain):
        return [sample["file_name"][-7:] for batch in batches for sample in batch[domain]]

    for domain in ("source", "target"):
        assert names(first, domain) != names(second, domain)
    same = np.mean([s == t for s, t in zip(*(names(first, d) for d in first[0]), strict=True)])
    assert same < 0.6  # five source and four target images: 0.2 expected


def test_uniform_draws_reach_all_images(cfg, day_and_dusk):
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    drawn = batches(cfg, 40)
    for domain, images in (("source", 5), ("target", 4)):
        names = [sample["file_name"] for batch in drawn for sample in batch[domain]]
        counts = np.unique(names, return_counts=True)[1]
        assert len(counts) == images
        assert counts.max() < 3 * 80 / images  # with replacement, but even


def test_rare_class_draws_prefer_the_rare_class(cfg, day_and_dusk):
    def car_images(cfg):
        names = [sample["file_name"] for batch in batches(cfg, 60) for sample in batch["source"]]
        return np.mean([name.endswith(("_000.png", "_001.png")) for name in names])

    assert car_images(cfg) > 0.9  # P(car) = 1 - exp(-30) or so at T = 0.01
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    assert abs(car_images(cfg) - 2 / 5) < 0.15


def test_crops_hold_the_drawn_class(cfg, day_and_dusk):
    cfg.DATALOADER.RARE_CLASS.MIN_CROP_RATIO = 1.0
    samples = [sample for batch in batches(cfg, 60) for sample in batch["source"]]
    enough = np.mean([(sample["sem_seg"] == 8).sum() > 20 for sample in samples])
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    samples = [sample for batch in batches(cfg, 60) for sample in batch["source"]]
    by_chance = np.mean([(sample["sem_seg"] == 8).sum() > 20 for sample in samples])
    assert enough > 0.95
    assert by_chance < 0.5


def test_several_source_sets(cfg, day_and_dusk):
    day_and_dusk.camvid_pair("val", "0016E5_0", np.full((19, 27), 10))
    cfg.DATASETS.TRAIN = ("camvid_day_train", "camvid_day_val")
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    names = {sample["file_name"] for batch in batches(cfg, 20) for sample in batch["source"]}
    assert any("camvid/val/" in name for name in names)
    assert any("camvid/train/" in name for name in names)


def test_sources_with_other_classes_are_refused(cfg, day_and_dusk):
    day_and_dusk.image("gta/images/1.png")
    day_and_dusk.label("gta/labels/1.png", np.zeros((19, 27)))
    cfg.DATASETS.TRAIN = ("camvid_day_train", "gta_sem_seg_train")
    with pytest.raises(
        InputError, match=r"gta_sem_seg_train .*19 .*camvid_day_train .*11.*'road'.*'sky'"
    ):
        build_uda_train_loader(cfg)


TARGETS = {
    "cityscapes_fine_sem_seg_train": (
        "cityscapes/leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png",
        "cityscapes/gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png",
    ),
    "dark_zurich_sem_seg_train": (
        "dark_zurich/rgb_anon/train/night/GOPR0351/GOPR0351_frame_000158_rgb_anon.png",
        "dark_zurich/gt/train/night/GOPR0351/GOPR0351_frame_000158_gt_labelTrainIds.png",
    ),
    "acdc_fog_sem_seg_train": (
        "acdc/rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "acdc/gt/fog/train/GOPR0475/GOPR0475_frame_000041_gt_labelTrainIds.png",
    ),
    "camvid_dusk_train": ("camvid/train/0001TP_0.png", "camvid/trainannot/0001TP_0.png"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_label_file_of_a_target_is_opened(cfg, folder, name):
    """They hold what no reader takes: opening one would raise."""
    image, label = TARGETS[name]
    folder.image(image)
    (folder.root / label).parent.mkdir(parents=True, exist_ok=True)
    (folder.root / label).write_text("poison")
    source = "camvid_day_train" if name.startswith("camvid") else "gta_sem_seg_train"
    labels = np.where(np.arange(19)[:, None] < 9, 8, np.full((19, 27), 7))
    folder.image("gta/images/00001.png")
    folder.label("gta/labels/00001.png", labels)
    folder.camvid_pair("train", "0006R0_0", labels)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TARGET = (source,), (name,)
    for batch in batches(cfg, 3):
        for sample in batch["target"]:
            assert set(sample) == {"image", "valid", "file_name"}
            assert sample["file_name"] == str(folder.root / image)
    stream = loader._target_stream(cfg)
    assert all("sem_seg_file_name" not in entry for entry in stream.dataset_dicts)


@pytest.mark.parametrize("workers", [0, 1])
def test_label_with_unknown_ids_is_a_clean_error(cfg, folder, workers):
    folder.image("gta/images/00001.png")
    folder.label("gta/labels/00001.png", np.full((19, 27), 77))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TARGET = ("gta_sem_seg_train",), ()
    cfg.DATALOADER.RARE_CLASS.ENABLED = False
    cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(InputError, match=r"^label file \S+00001.png holds values .*: 77 \("):
        batches(cfg, 1)


def test_synthia_is_sampled_by_its_red_channel(cfg, folder):
    labels = np.full((19, 27), 3)
    labels[10:] = 21  # wall
    for i in range(2):
        folder.image(f"synthia/RGB/{i}.png")
        folder.synthia_label(f"synthia/GT/LABELS/{i}.png", labels, seed=i)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TARGET = ("synthia_sem_seg_train",), ()
    seen = {int(k) for b in batches(cfg, 6) for s in b["source"] for k in s["sem_seg"].unique()}
    assert seen == {0, 3}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["image", "target", "size"])
def test_damaged_file_is_a_clean_error(cfg, day_and_dusk, workers, damage):
    root = day_and_dusk.root / "camvid"
    for i in range(5):
        if damage == "image":
            (root / f"train/0006R0_{i:03}.png").write_bytes(b"broken")
        elif damage == "target":
            (root / f"train/0001TP_{i:03}.png").write_bytes(b"broken")
        else:
            day_and_dusk.image(f"camvid/train/0006R0_{i:03}.png", (19, 28))
    cfg.DATALOADER.NUM_WORKERS = workers
    expected = {
        "image": r"^image \S+0006R0_00\d.png cannot be decoded",
        "target": r"^image \S+0001TP_00\d.png cannot be decoded",
        "size": r"^image \S+ is 28x19 but its label file \S+ is 27x19",
    }
    with pytest.raises(InputError, match=expected[damage]) as error:
        batches(cfg, 1)
    assert type(error.value) is InputError
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATASETS.TRAIN", ()),
        ("DATASETS.TRAIN", ("gta",)),
        ("DATASETS.TARGET", ("gta",)),
        ("SOLVER.IMS_PER_BATCH", 0),
        ("DATALOADER.NUM_WORKERS", -1),
        ("DATALOADER.RARE_CLASS.MIN_PIXELS", 600),
    ],
)
def test_wrong_keys_are_named(cfg, day_and_dusk, key, value):
    cfg.merge_from_list([key, value])
    with pytest.raises(InputError, match=key):
        build_uda_train_loader(cfg)


def test_batch_must_divide_among_processes(cfg, day_and_dusk, monkeypatch):
    monkeypatch.setattr(loader.comm, "get_world_size", lambda: 3)
    with pytest.raises(InputError, match=r"SOLVER.IMS_PER_BATCH is 2.*3 processes"):
        build_uda_train_loader(cfg)


@pytest.mark.parametrize("workers", [0, 1])
def test_test_loader_goes_through_all_images_in_order(cfg, day_and_dusk, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    test_loader = build_uda_test_loader(cfg, "camvid_day_train")
    assert len(test_loader) == 5
    for _ in range(2):  # it can be used again
        samples = list(test_loader)
        assert [len(batch) for batch in samples] == [1] * 5
        assert [batch[0]["file_name"][-7:] for batch in samples] == [
            f"{i:03}.png" for i in range(5)
        ]


def test_test_loader_is_divided_among_processes(cfg, day_and_dusk, monkeypatch):
    parts = []
    for rank in (0, 1):
        sampler = InferenceSampler(5)
        sampler._local_indices = sampler._get_local_indices(5, 2, rank)
        monkeypatch.setattr(loader, "InferenceSampler", lambda size, sampler=sampler: sampler)
        test_loader = build_uda_test_loader(cfg, "camvid_day_train")
        assert len(test_loader) == (3, 2)[rank]
        parts += [batch[0]["file_name"] for batch in test_loader]
    assert parts == sorted(parts)
    assert len(set(parts)) == 5


def test_test_loader_opens_no_label_and_names_damaged_images(cfg, day_and_dusk):
    root = day_and_dusk.root / "camvid"
    for label in (root / "trainannot").iterdir():
        label.write_text("broken")
    (root / "train/0006R0_003.png").write_text("broken")
    test_loader = iter(build_uda_test_loader(cfg, "camvid_day_train"))
    assert len(list(islice(test_loader, 3))) == 3
    with pytest.raises(InputError, match=r"0006R0_003.png cannot be decoded"):
        next(test_loader)
