"""Patch mask of masked image consistency (MIC, Hoyer et al., CVPR 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def patch_mask(
    shape: Sequence[int],
    ratio: float,
    block_size: int,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws which square patches of each image stay visible.

    The grid has round(H / block) x round(W / block) patches (half to even), each visible with
    probability ``1 - ratio``, and is enlarged to the image by nearest neighbour.

    Args:
        shape: (N, C, H, W) of the images.
        ratio: expected share of hidden patches, in [0, 1].
        block_size: side of a patch in pixels.
        generator: source of randomness; ``None`` = torch's default generator of ``device``.
        device: where the mask lives; ``None`` = the generator's device, or the CPU.
    Returns:
        (N, 1, H, W) float32, 1 = visible, 0 = hidden.
    Raises:
        ValueError: if ``ratio`` lies outside [0, 1] or the image is smaller than half a patch.
    """
    batch, _, height, width = shape
    rows, columns = round(height / block_size), round(width / block_size)
    if not 0 <= ratio <= 1:
        raise ValueError(f"the mask ratio must lie in [0, 1], not {ratio}")
    if rows == 0 or columns == 0:
        raise ValueError(f"a {height}x{width} image has no patch of {block_size} pixels")
    drawn_on = generator.device if generator is not None else device
    grid = torch.rand(batch, 1, rows, columns, generator=generator, device=drawn_on) > ratio
    return F.interpolate(grid.float().to(device), size=(height, width), mode="nearest")
