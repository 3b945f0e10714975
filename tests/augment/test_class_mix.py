import pytest
import torch

from copt_d2.augment import class_mix_masks, mix


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def chosen_classes(mask, labels):
    """Labels inside the mask of one image; a class is in it with all its pixels or not at all."""
    inside, outside = set(labels[mask[0]].tolist()), set(labels[~mask[0]].tolist())
    assert not inside & outside
    return inside


@pytest.mark.parametrize(
    ("values", "drawn"), [([3], 1), ([0, 7], 1), ([0, 1, 2], 2), (range(10), 5)]
)
def test_half_of_the_classes_rounded_up(values, drawn):
    labels = torch.tensor(list(values)).repeat(2, 3, 1)  # every class in both images
    for seed in range(5):
        masks = class_mix_masks(labels, generator(seed))
        assert masks.shape == (2, 1, *labels.shape[1:])
        assert masks.dtype == torch.bool
        for mask, label in zip(masks, labels, strict=True):
            assert len(chosen_classes(mask, label)) == drawn


def test_classes_of_the_whole_batch_are_drawn():
    # image 0 has one of the batch's four classes; two are drawn: it is pasted whole or not at all
    labels = torch.stack([torch.zeros(3, 3), torch.tensor([[1.0, 2, 3]]).repeat(3, 1)]).long()
    outcomes = {bool(class_mix_masks(labels, generator(s))[0].all()) for s in range(20)}
    counts = {
        len(chosen_classes(class_mix_masks(labels, generator(s))[1], labels[1])) for s in range(20)
    }
    assert outcomes == {True, False}
    assert counts == {1, 2}  # with class 0 among the two drawn, one is left


def test_ignored_pixels_count_as_a_class():
    labels = torch.tensor([0, 255]).repeat(1, 4, 1)
    drawn = [chosen_classes(class_mix_masks(labels, generator(s))[0], labels[0]) for s in range(20)]
    assert {0} in drawn
    assert {255} in drawn
    assert all(len(classes) == 1 for classes in drawn)


def test_each_image_has_its_own_draw_and_classes_are_drawn_evenly():
    labels = torch.arange(6).repeat(400, 2, 1)
    masks = class_mix_masks(labels, generator())
    rows = masks[:, 0, 0].float()
    assert (rows.sum(dim=1) == 3).all()
    assert len(rows.unique(dim=0)) == 20  # all 6-choose-3 subsets
    # 0.5 with a standard deviation of 0.025
    torch.testing.assert_close(rows.mean(dim=0), torch.full((6,), 0.5), rtol=0, atol=0.1)


def test_the_generator_alone_decides():
    labels = torch.randint(0, 9, (3, 7, 11), generator=generator(1))
    state = torch.random.get_rng_state()
    first = class_mix_masks(labels, generator(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(class_mix_masks(labels, generator(2)), first)
    assert any(not torch.equal(class_mix_masks(labels, generator(s)), first) for s in range(3, 6))
    torch.manual_seed(2)
    assert torch.equal(class_mix_masks(labels), first)  # the default generator


def test_mix_of_images_and_labels():
    mask = torch.tensor([[[[True, False]]], [[[False, True]]]])  # (2, 1, 1, 2)
    source, target = torch.ones(2, 3, 1, 2), torch.zeros(2, 3, 1, 2)
    assert torch.equal(mix(mask, source, target), mask.expand(2, 3, 1, 2).float())
    labels = mix(mask, torch.tensor([[[5, 255]], [[7, 8]]]), torch.tensor([[[1, 2]], [[3, 4]]]))
    assert labels.tolist() == [[[5, 2]], [[3, 8]]]
    assert labels.dtype == torch.int64


def test_a_square_batch_of_labels_is_not_mistaken():
    # N = H = W = 2: broadcasting (N, 1, H, W) against (N, H, W) would mix up the images
    mask = torch.tensor([[[[1, 1], [0, 0]]], [[[0, 0], [0, 0]]]])
    mixed = mix(mask, torch.full((2, 2, 2), 9.0), torch.zeros(2, 2, 2))
    assert mixed.tolist() == [[[9, 9], [0, 0]], [[0, 0], [0, 0]]]
