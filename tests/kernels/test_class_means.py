import copt_kernels
import pytest
import torch
import torch.nn.functional as F
from copt_kernels.class_covariance import reference
from hypothesis import given, settings
from hypothesis import strategies as st

MODES = ["nearest", "area", "bilinear"]
ROWS_1024_TO_16 = [0, 68, 136, 204, 272, 341, 409, 477, 545, 613, 682, 750, 818, 886, 954, 1023]
ROWS_512_TO_16 = [0, 34, 68, 102, 136, 170, 204, 238, 272, 306, 340, 374, 408, 442, 476, 511]


def draw(n, c, h, w, height, width, k, seed=0, dtype=torch.float64):
    """Random features and labels, a fifth of the labels ignored and some out of range."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(n, c, h, w, generator=rng, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, k, (n, height, width), generator=rng)
    chance = torch.rand(labels.shape, generator=rng)
    labels = labels.masked_fill(chance < 0.2, 255).masked_fill(chance > 0.95, 300)
    return features, labels.masked_fill((chance > 0.9) & (chance < 0.95), -3)


def test_mean_and_mass_by_hand():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    labels = torch.tensor([[[0, 2], [2, 255]], [[2, 0], [255, 255]]])
    means, mass = copt_kernels.class_means(features, labels, 4)
    # class 0: 1 and 6; class 2: 2, 3 and 5; classes 1 and 3 are absent
    assert means.tolist() == [[3.5], [0.0], [pytest.approx(10 / 3)], [0.0]]
    assert mass.tolist() == [2, 0, 3, 0]


def test_area_share_by_hand():
    features = torch.tensor([[[[1.0, 10.0]]]])
    labels = torch.tensor([[[0, 0, 1, 1], [0, 255, 1, 0]]])
    means, mass = copt_kernels.class_means(features, labels, 2, mode="area")
    # shares of class 0: 3/4 and 1/4; of class 1: 0 and 3/4
    assert mass.tolist() == [1.0, 0.75]
    assert means.flatten().tolist() == pytest.approx([0.75 * 1 + 0.25 * 10, 10.0])


@pytest.mark.parametrize(
    ("length", "cells", "rows"),
    [
        (1024, 16, ROWS_1024_TO_16),
        (512, 16, ROWS_512_TO_16),
        (1024, 32, list(range(0, 1024, 33))),
        (5, 1, [0]),
    ],
)
def test_nearest_samples_the_published_rows_and_columns(length, cells, rows):
    position = torch.arange(length).view(1, length, 1)  # every row is a class of its own
    for labels, shape in ((position, (cells, 1)), (position.transpose(1, 2), (1, cells))):
        features = torch.arange(1.0, cells + 1).view(1, 1, *shape)
        means, mass = copt_kernels.class_means(features, labels, length, ignore_index=-1)
        assert mass.nonzero().flatten().tolist() == rows
        assert means[rows, 0].tolist() == features.flatten().tolist()


@pytest.mark.parity
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 4),
    c=st.integers(1, 1024),
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    label_size=st.tuples(st.integers(1, 22), st.integers(1, 17)),
    k=st.integers(1, 64),
    mode=st.sampled_from(MODES),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    label_dtype=st.sampled_from([torch.int32, torch.int64]),
    layout=st.sampled_from(["contiguous", "channels_last", "sliced"]),
    seed=st.integers(0, 99),
)
def test_equals_the_reference(n, c, size, label_size, k, mode, dtype, label_dtype, layout, seed):
    features, labels = draw(n, c, *size, *label_size, k, seed, dtype)
    if layout == "channels_last":
        features = features.to(memory_format=torch.channels_last)
    if layout == "sliced":
        features = F.pad(features.float(), (1, 2)).to(dtype)[..., 1:-2]
    expected, expected_mass = reference.class_means(features, labels, k, mode=mode)
    means, mass = copt_kernels.class_means(features, labels.to(label_dtype), k, mode=mode)
    assert means.dtype == mass.dtype == torch.float32
    # float32 sums of at most 4 · 63 cells of values up to about 4
    torch.testing.assert_close(means.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mass.double(), expected_mass, rtol=1e-4, atol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("label_size", [(17, 23), (15, 10), (3, 4), (2, 9)])
def test_gradient_equals_the_references(mode, label_size):
    features, labels = draw(3, 5, 3, 4, *label_size, 6)
    rng = torch.Generator().manual_seed(1)
    direction = torch.randn(6, 5, generator=rng, dtype=torch.float64)
    gradients, values = [], []
    for function in (copt_kernels.class_means, reference.class_means):
        leaf = features.clone().requires_grad_()
        means, _ = function(leaf, labels, 6, mode=mode)
        (means * direction).sum().backward()
        gradients.append(leaf.grad)
        values.append(means)
    torch.testing.assert_close(values[0], values[1], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode):
    features, labels = draw(2, 3, 2, 3, 7, 5, 4)
    assert torch.autograd.gradcheck(
        lambda f: copt_kernels.class_means(f, labels, 4, mode=mode)[0],
        features.requires_grad_(),
    )


@pytest.mark.parity
@pytest.mark.parametrize(("size", "label_size"), [((3, 5), (16, 21)), ((4, 4), (16, 16))])
def test_bilinear_is_the_mean_of_upsampled_features(size, label_size):
    features, labels = draw(2, 7, *size, *label_size, 3)
    means, mass = copt_kernels.class_means(features, labels, 3, mode="bilinear")
    upsampled = F.interpolate(features, label_size, mode="bilinear", align_corners=False)
    for c in range(3):
        of_class = upsampled.movedim(1, 3)[labels == c]
        torch.testing.assert_close(means[c], of_class.mean(0), rtol=1e-11, atol=1e-11)
        assert mass[c].item() == pytest.approx(len(of_class))


@pytest.mark.parity
def test_area_weights_are_those_of_adaptive_average_pooling():
    features, labels = draw(2, 4, 3, 5, 13, 11, 3)  # neither axis divides: windows overlap
    masks = labels[:, None] == torch.arange(3).view(1, 3, 1, 1)
    shares = F.adaptive_avg_pool2d(masks.double(), (3, 5))
    means, mass = copt_kernels.class_means(features, labels, 3, mode="area")
    torch.testing.assert_close(mass, shares.sum((0, 2, 3)))
    expected = torch.einsum("nkhw,nchw->kc", shares, features) / mass[:, None]
    torch.testing.assert_close(means, expected)


def released_centroid(features, mask):
    """The published code's read-out: masked values in memory order, viewed as C rows of n_c."""
    chosen = features.masked_select(mask[:, None].expand_as(features))
    return chosen.view(features.shape[1], -1).mean(1)


def test_released_channel_scramble_differs_only_when_a_class_is_in_two_images():
    features, _ = draw(2, 6, 3, 4, 3, 4, 2)
    labels = torch.zeros(2, 3, 4, dtype=torch.int64)
    labels[0, 1, :3] = 1  # class 1 in the first image only, class 0 in both
    means, _ = copt_kernels.class_means(features, labels, 2)
    torch.testing.assert_close(means[1], released_centroid(features, labels == 1))
    scrambled = released_centroid(features, labels == 0)
    assert (means[0] - scrambled).abs().max() > 0.05
    correct = features.movedim(1, 3)[labels == 0].mean(0)
    torch.testing.assert_close(means[0], correct)


@pytest.mark.parametrize("mode", MODES)
def test_all_ignored_gives_zeros_and_no_gradient(mode):
    features, labels = draw(2, 3, 2, 3, 8, 9, 4)
    features.requires_grad_()
    means, mass = copt_kernels.class_means(features, torch.full_like(labels, 255), 4, mode=mode)
    means.sum().backward()
    assert not means.any()
    assert not mass.any()
    assert not features.grad.any()


@pytest.mark.parametrize("mode", MODES)
def test_nan_reaches_its_class_only_and_never_through_ignored_cells(mode):
    features, _ = draw(1, 3, 2, 4, 8, 16, 3)
    labels = torch.zeros(1, 8, 16, dtype=torch.int64)
    labels[..., 8:] = 1  # columns 2 and 3 of the cells
    labels[:, :, 12:] = 255
    features[0, 1, 0, 0] = torch.nan
    features.requires_grad_()
    means, _ = copt_kernels.class_means(features, labels, 3, mode=mode)
    assert means.isnan().nonzero().tolist() == [[0, 1]]
    clean = features.detach().clone()
    clean[0, 1, 0, 0] = 0.0
    if mode != "bilinear":  # there, cells of the last column still touch pixels of class 1
        clean[0, :, :, 3] = torch.nan
        means, _ = copt_kernels.class_means(clean.requires_grad_(), labels, 3, mode=mode)
        means.sum().backward()
        assert means.isfinite().all()
        assert clean.grad.isfinite().all()
        assert not clean.grad[..., 3].any()


def test_bilinear_does_not_read_cells_that_no_counted_pixel_touches():
    features, _ = draw(1, 3, 1, 4, 4, 16, 2)
    labels = torch.zeros(1, 4, 16, dtype=torch.int64)
    labels[..., 10:] = 255  # the last cell's tent begins at column 10
    features[..., 3] = torch.nan
    means, _ = copt_kernels.class_means(features, labels, 1, mode="bilinear")
    assert means.isfinite().all()


def test_infinity_reaches_the_mean():
    features, labels = draw(1, 2, 2, 2, 2, 2, 1)
    features[0, 1] = torch.inf
    for mode in MODES:
        means, _ = copt_kernels.class_means(features, torch.zeros_like(labels), 1, mode=mode)
        assert means[0, 0].isfinite()
        assert not means[0, 1].isfinite()


@pytest.mark.parametrize("mode", MODES)
def test_label_forms_agree(mode):
    features, labels = draw(2, 3, 3, 2, 9, 7, 5)
    labels = labels.masked_fill((labels == 300) | (labels < 0), 255)
    expected = copt_kernels.class_means(features, labels, 5, mode=mode)
    for other in (labels.byte(), labels.int(), labels[:, None], labels.byte()[:, None]):
        for got, wanted in zip(
            copt_kernels.class_means(features, other, 5, mode=mode), expected, strict=True
        ):
            assert torch.equal(got, wanted)


def test_ignore_index_inside_the_class_range():
    features, labels = draw(1, 2, 4, 4, 4, 4, 3)
    means, mass = copt_kernels.class_means(features, labels, 3, ignore_index=1)
    assert mass[1] == 0
    assert not means[1].any()
    assert mass[0] == (labels == 0).sum()


def test_many_classes():
    labels = torch.arange(1024).view(1, 32, 32)
    features = torch.arange(1024.0).view(1, 1, 32, 32).repeat(1, 3, 1, 1)
    for mode in ("nearest", "area"):
        means, mass = copt_kernels.class_means(features, labels, 1024, mode=mode, ignore_index=-1)
        assert torch.equal(means, torch.arange(1024.0)[:, None].expand(-1, 3))
        assert torch.equal(mass, torch.ones(1024))


@pytest.mark.parametrize("mode", MODES)
def test_empty_batch_has_no_class(mode):
    features, labels = torch.zeros(0, 3, 2, 2), torch.zeros(0, 8, 8, dtype=torch.int64)
    means, mass = copt_kernels.class_means(features, labels, 4, mode=mode)
    assert means.shape == (4, 3)
    assert not means.any()
    assert not mass.any()


@pytest.mark.parametrize("mode", MODES)
def test_accumulates_in_float32_under_autocast(mode):
    features, labels = draw(2, 9, 5, 4, 31, 22, 3, dtype=torch.float32)
    expected, _ = copt_kernels.class_means(features, labels, 3, mode=mode)
    with torch.autocast("cpu", torch.bfloat16):
        means, _ = copt_kernels.class_means(features, labels, 3, mode=mode)
    assert torch.equal(means, expected)


@pytest.mark.parametrize("mode", MODES)
def test_sums_are_means_times_mass(mode):
    features, labels = draw(2, 5, 3, 4, 11, 9, 4)
    means, mass = copt_kernels.class_means(features, labels, 4, mode=mode)
    sums, same_mass = copt_kernels.class_sums(features.requires_grad_(), labels, 4, mode=mode)
    torch.testing.assert_close(sums, means * mass[:, None])
    assert torch.equal(mass, same_mass)
    assert torch.autograd.gradcheck(
        lambda f: copt_kernels.class_sums(f, labels, 4, mode=mode)[0], features
    )


@pytest.mark.parametrize("mode", MODES)
def test_nan_that_comes_back_for_an_absent_class_reaches_no_cell(mode):
    features, labels = draw(1, 3, 2, 2, 6, 6, 2)
    features.requires_grad_()
    means, mass = copt_kernels.class_means(features, labels, 4, mode=mode)
    (means / mass[:, None])[:2].sum().backward(retain_graph=True)  # 0 / 0 behind both classes
    wanted, features.grad = features.grad, None
    (means / mass[:, None]).nan_to_num().sum().backward()
    assert torch.equal(features.grad, wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_stays_in_the_cells_of_its_class(mode, wrong):
    features, _ = draw(1, 3, 2, 4, 8, 16, 3)
    labels = torch.zeros(1, 8, 16, dtype=torch.int64)
    labels[..., 8:] = 1  # columns 2 and 3 of the cells
    labels[:, :, 12:] = 255
    features.requires_grad_()
    means, _ = copt_kernels.class_means(features, labels, 3, mode=mode)
    direction = torch.randn_like(means)
    (wanted,) = torch.autograd.grad((means * direction).sum(), features, retain_graph=True)
    direction[1, 2] = wrong
    (found,) = torch.autograd.grad((means * direction).sum(), features)
    # bilinear: the tents of columns 1 and 3 reach pixels of class 1, too
    columns = [1, 2, 3] if mode == "bilinear" else [2]
    assert found.isfinite().logical_not().nonzero()[:, [1, 3]].unique(dim=0).tolist() == [
        [2, column] for column in columns
    ]
    assert torch.equal(found[found.isfinite()], wanted[found.isfinite()])


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["area", "bilinear"])
def test_labels_of_more_rows_than_are_taken_at_a_time(mode):
    features, labels = draw(2, 3, 7, 2, 150, 9, 4)
    expected, expected_mass = reference.class_means(features, labels, 4, mode=mode)
    means, mass = copt_kernels.class_means(features, labels, 4, mode=mode)
    torch.testing.assert_close(means, expected)
    torch.testing.assert_close(mass, expected_mass)
