import pytest
import torch

from copt_d2.augment import patch_mask


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def patch_of(length, count):
    """Index of the patch of each pixel when ``count`` patches are enlarged to ``length``."""
    return [index * count // length for index in range(length)]


@pytest.mark.parametrize(
    ("size", "block", "grid"),
    [
        ((1024, 512), 64, (16, 8)),
        ((96, 160), 64, (2, 2)),  # 1.5 and 2.5 round to the even 2
        ((160, 96), 64, (2, 2)),
        ((65, 97), 32, (2, 3)),
        ((37, 113), 16, (2, 7)),
    ],
)
def test_grid_and_enlargement(size, block, grid):
    mask = patch_mask((3, 3, *size), 0.7, block, generator(1))
    assert mask.shape == (3, 1, *size)
    assert mask.dtype == torch.float32
    patches = torch.rand(3, 1, *grid, generator=generator(1)) > 0.7
    rows, columns = patch_of(size[0], grid[0]), patch_of(size[1], grid[1])
    assert torch.equal(mask, patches[:, :, rows][..., columns].float())


def test_share_of_visible_patches():
    mask = patch_mask((4, 3, 320, 320), 0.7, 8, generator(2))  # 6400 patches
    assert mask.mean().item() == pytest.approx(0.3, abs=0.03)  # five standard deviations
    assert not torch.equal(mask[0], mask[1])
    assert patch_mask((1, 3, 64, 64), 1.0, 8).sum() == 0
    assert patch_mask((1, 3, 64, 64), 0.0, 8, generator(3)).all()


def test_the_generator_alone_decides():
    state = torch.random.get_rng_state()
    first = patch_mask((2, 3, 64, 96), 0.5, 16, generator(5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(patch_mask((2, 3, 64, 96), 0.5, 16, generator(5)), first)
    assert not torch.equal(patch_mask((2, 3, 64, 96), 0.5, 16, generator(6)), first)
    torch.manual_seed(5)
    assert torch.equal(patch_mask((2, 3, 64, 96), 0.5, 16, device="cpu"), first)


@pytest.mark.parametrize(
    ("size", "ratio", "words"),
    [((64, 64), 1.5, "1.5"), ((64, 64), -0.1, "ratio"), ((10, 64), 0.7, "10x64")],
)
def test_wrong_arguments(size, ratio, words):
    with pytest.raises(ValueError, match=words):
        patch_mask((1, 3, *size), ratio, 32)
