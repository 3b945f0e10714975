"""Launches of the Triton kernels: on CUDA and ROCm tensors, or on the CPU in Triton's interpreter
(``TRITON_INTERPRET=1`` before the first import of triton).

Same functions as ``torch_impl.py``. Nothing here waits for the device, allocates by its data or
keeps state, so all of it can be captured in a CUDA graph.
"""

import contextlib
import ctypes
import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import triton_covariance, triton_pooling

EPSILON = 1e-12
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# float32 products: on NVIDIA three of tf32 on the matrix units, close to float32's rounding
PRECISION = "ieee" if INTERPRETED or torch.version.hip else "tf32x3"
SHORT = tl.float32 if INTERPRETED else tl.bfloat16


def pool(
    features: Tensor, labels: Tensor, num_classes: int, mode: str, ignore_index: int, divide: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums or means (K, C), mass (K,), and in the soft modes weights (N, K, h·w); float32."""
    counter = torch.empty(1, dtype=torch.int32, device=features.device)
    sums, masses, weights = _pool(features, labels, num_classes, mode, ignore_index, counter)
    pooled, mass = torch.empty_like(sums[0]), torch.empty_like(masses[0])
    splits, channels = len(sums), sums.shape[2]
    block = 256
    with _on_device_of(features):
        triton_pooling.combine_kernel[(num_classes, triton.cdiv(channels, block))](
            *(sums, masses, pooled, mass, channels),
            **{"K": num_classes, "SPLITS": splits, "DIVIDE": divide, "BLOCK_C": block},
        )
    return pooled, mass, weights


def pool_backward(
    gradient: Tensor,
    labels: Tensor,
    mass: Tensor,
    weights: Tensor,
    out: Tensor,
    mode: str,
    ignore_index: int,
    divide: bool,
) -> Tensor:
    """Gradient by the features, into ``out`` (N, C, h, w), from that (K, C) by the pooled."""
    block_c, block_q = _gather_blocks(out)
    grid = (_tasks(out, block_q), triton.cdiv(out.shape[1], block_c))
    if not out.numel():
        return out
    with _on_device_of(out):
        triton_pooling.pool_backward_kernel[grid](
            gradient.contiguous(),
            *(labels, weights, mass, out, out.shape[1], *out.stride(), *labels.stride()),
            *_sampling(labels.shape, out.shape),
            ignore_index,
            **_sizes(out, len(mass)),
            **{"SOFT": mode != "nearest", "DIVIDE": divide},
            **{"BLOCK_C": block_c, "BLOCK_Q": block_q},
        )
    return out


def covariance(
    means: Tensor, mass: Tensor, text_cov: Tensor, bank: Tensor | None, decay: float, metric: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss (), new bank (K, C), its slope (K, K), the rows' means and two factors (K + 2,)."""
    counter = torch.zeros(1, dtype=torch.int32, device=means.device)
    means, mass = means.contiguous(), mass.contiguous()
    found = _covariance(means[None], mass[None], text_cov, bank, decay, metric, counter, False)
    return found[:4]


def covariance_backward(
    grad_loss: Tensor, new_bank: Tensor, mass: Tensor, gram: Tensor, centre: Tensor
) -> Tensor:
    """Gradient (K, C) by the means."""
    k, channels = new_bank.shape
    out = torch.empty_like(new_bank)
    block = 32
    with _on_device_of(out):
        triton_covariance.covariance_backward_kernel[(triton.cdiv(channels, block),)](
            *(grad_loss, new_bank, mass.contiguous(), gram, centre, out, channels),
            **{"K": k, "KP": _padded(k), "PRECISION": PRECISION, "BLOCK_C": block},
        )
    return out


def pooled_loss(
    features: Tensor,
    labels: Tensor,
    text_cov: Tensor,
    bank: Tensor | None,
    mode: str,
    ignore_index: int,
    decay: float,
    metric: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss, new bank, slope, centre, mass and weights: two launches (``nearest``) or three."""
    counter = torch.empty(1, dtype=torch.int32, device=features.device)
    classes = len(text_cov)
    sums, masses, weights = _pool(features, labels, classes, mode, ignore_index, counter)
    found = _covariance(sums, masses, text_cov, bank, decay, metric, counter, divide=True)
    return *found, weights


def pooled_loss_backward(
    grad_loss: Tensor,
    new_bank: Tensor,
    gram: Tensor,
    centre: Tensor,
    mass: Tensor,
    weights: Tensor,
    labels: Tensor,
    out: Tensor,
    mode: str,
    ignore_index: int,
) -> Tensor:
    """Gradient of the loss by the features, written into ``out`` (N, C, h, w): one launch."""
    block_c, block_q = 16, _power_of_two(out.shape[2] * out.shape[3], 16, 128)
    grid = (_tasks(out, block_q), triton.cdiv(out.shape[1], block_c))
    if not out.numel():
        return out
    with _on_device_of(out):
        triton_covariance.pooled_loss_backward_kernel[grid](
            *(grad_loss, new_bank, mass, gram, centre, labels, weights, out, out.shape[1]),
            *(*out.stride(), *labels.stride(), *_sampling(labels.shape, out.shape)),
            ignore_index,
            **_sizes(out, len(mass)),
            **{"KP": _padded(len(mass)), "SOFT": mode != "nearest", "PRECISION": PRECISION},
            **{"BLOCK_C": block_c, "BLOCK_Q": block_q},
        )
    return out


def _pool(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    mode: str,
    ignore_index: int,
    counter: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums (splits, K, C) and masses (splits, K) of parts of the cells, and weights."""
    n, channels, h, w = features.shape
    options = {"dtype": torch.float32, "device": features.device}
    block_c, block_q, block_k = pool_blocks(features, num_classes, mode)
    blocks_of_channels, tasks = triton.cdiv(channels + 1, block_c), _tasks(features, block_q)
    # enough programs to fill a GPU, none without cells
    splits = _power_of_two(tasks, 1, _power_of_two(512 // blocks_of_channels, 1, 16))
    sums = torch.empty(splits, num_classes, channels, **options)
    masses = torch.empty(splits, num_classes, **options)
    weights = torch.empty(0, **options)
    with _on_device_of(features):
        if mode != "nearest":
            weights = _weights(labels, (n, h, w), num_classes, mode, ignore_index)
        triton_pooling.pool_kernel[(blocks_of_channels, splits, triton.cdiv(num_classes, block_k))](
            *(features, labels, weights, sums, masses, counter, channels, tasks),
            *(*features.stride(), *labels.stride(), *_sampling(labels.shape, features.shape)),
            ignore_index,
            **_sizes(features, num_classes),
            **{"SOFT": mode != "nearest", "PRECISION": PRECISION, "SHORT": SHORT, "SPLITS": splits},
            **{"BLOCK_C": block_c, "BLOCK_Q": block_q, "BLOCK_K": block_k},
            num_stages=1 if tasks <= splits else 2,
        )
    return sums, masses, weights


def pool_blocks(features: Tensor, num_classes: int, mode: str) -> tuple[int, int, int]:
    """Channels, cells and classes of one program: small ones where there is little to do, and none
    that need more shared memory than consumer GPUs have (99 KiB; weights are staged in it).
    """
    n, channels, h, w = features.shape
    few = n * h * w <= 4096
    block_c = _power_of_two(channels + 1, 16, 16 if few else 64)
    block_q = _power_of_two(h * w, 16, 128 if few else 64)
    return block_c, block_q, _power_of_two(num_classes, 32, 128 if few or mode == "nearest" else 64)


def _tasks(features: Tensor, block_q: int) -> int:
    """Blocks of cells, none of which crosses images."""
    n, _, h, w = features.shape
    return n * triton.cdiv(h * w, block_q)


def _weights(
    labels: Tensor, size: tuple[int, int, int], num_classes: int, mode: str, ignore_index: int
) -> Tensor:
    n, h, w = size
    height, width = labels.shape[1:]
    weights = torch.empty(n, num_classes, h * w, dtype=torch.float32, device=labels.device)
    block_k = _power_of_two(num_classes, 1, 32)
    if n:
        triton_pooling.weights_kernel[(n * h * w, triton.cdiv(num_classes, block_k))](
            *(labels, weights, height, width, *labels.stride(), ignore_index),
            **{"h": h, "w": w, "K": num_classes, "BILINEAR": mode == "bilinear"},
            **{"BLOCK_K": block_k, "BLOCK_W": _power_of_two(2 * width // w, 16, 64), "ROWS": 16},
        )
    return weights


def _covariance(
    pooled: Tensor,
    mass: Tensor,
    text_cov: Tensor,
    bank: Tensor | None,
    decay: float,
    metric: str,
    counter: Tensor,
    divide: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``covariance`` of parts (splits, K, C), which to ``divide`` by mass; and the whole mass."""
    splits, k, channels = pooled.shape
    padded = _padded(k)
    block = covariance_block(channels, padded)
    blocks = triton.cdiv(channels, block)
    options = {"dtype": torch.float32, "device": pooled.device}
    # of all blocks: products (padded, padded), then sums (padded), then units
    scratch = torch.empty(blocks * (padded * (padded + 1) + 1), **options)
    new_bank, loss = torch.empty(k, channels, **options), torch.empty((), **options)
    gram, centre, total_mass = (torch.empty(s, **options) for s in ((k, k), (k + 2,), (k,)))
    with _on_device_of(pooled):
        triton_covariance.covariance_kernel[(blocks,)](
            *(pooled, mass, text_cov.contiguous(), pooled if bank is None else bank.contiguous()),
            *(new_bank, scratch, scratch[blocks * padded * padded :], counter),
            *(loss, gram, centre, total_mass, channels, decay, EPSILON),
            **{"K": k, "KP": padded, "SPLITS": splits, "HAS_BANK": bank is not None},
            **{"DIVIDE": divide, "METRIC": metric, "PRECISION": PRECISION},
            **{"BLOCK_C": block, "BLOCKS": blocks},
            **{"BLOCKS_PADDED": triton.next_power_of_2(blocks)},
            **{"SPLITS_AHEAD": tiles_ahead(splits, padded * block)},
            **{"BLOCKS_AHEAD": tiles_ahead(blocks, padded * padded)},
        )
    return loss, new_bank, gram, centre, total_mass


def covariance_block(channels: int, padded: int) -> int:
    """Channels of one program: 16 programs, as far as shared memory allows (64 KiB)."""
    return _power_of_two(triton.cdiv(channels, 16), 32, 128 if padded == 32 else 64)


def _sizes(features: Tensor, num_classes: int) -> dict[str, int]:
    h, w = features.shape[2:]
    plane = h == 1 or features.stride(2) == w * features.stride(3)
    return {"h": h, "w": w, "K": num_classes, "PLANE": plane}


def _sampling(labels_shape: torch.Size, features_shape: torch.Size) -> tuple[float, ...]:
    """End and step of ``torch.linspace(0, length - 1, cells)`` along rows and columns."""
    values: list[float] = []
    for length, cells in zip(labels_shape[1:], features_shape[2:], strict=True):
        if cells == 1:
            values += [0.0, 0.0]  # the first pixel, not the last
        else:
            values += [float(length - 1), ctypes.c_float((length - 1) / (cells - 1)).value]
    return tuple(values)


def _gather_blocks(out: Tensor) -> tuple[int, int]:
    """Channels and cells of one program: the longer side along memory."""
    return (64, 16) if out.stride(1) == 1 else (16, 64)


def _padded(num_classes: int) -> int:
    return max(32, triton.next_power_of_2(num_classes))


def _power_of_two(number: int, least: int, most: int) -> int:
    return min(max(triton.next_power_of_2(max(number, 1)), least), most)


def tiles_ahead(number: int, elements: int) -> int:
    """Of ``number`` tiles, how many are loaded at once: a power of two that divides it, and few
    enough to fit the registers (and to compile within seconds).
    """
    ahead = 1
    while number % (2 * ahead) == 0 and 2 * ahead * elements <= 16384:
        ahead *= 2
    return ahead


def _on_device_of(tensor: Tensor) -> Any:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
