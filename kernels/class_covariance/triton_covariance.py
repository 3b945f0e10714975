"""Triton kernels of the covariance loss and of the whole loss's backward pass.

Names as in ``triton_pooling.py``; derived in ``README.md`` §3.
"""

import triton
import triton.language as tl

from .triton_pooling import block_of_cells, nearest_class, offsets_of


@triton.jit
def _pair_sum(matrix):
    return tl.sum(tl.sum(matrix, 1), 0)


@triton.jit
def _sign(matrix):
    """-1, 0 or 1; NaN stays."""
    return tl.where(matrix > 0, 1.0, tl.where(matrix < 0, -1.0, matrix))


@triton.jit
def _unit(largest):
    """The power of two up to ``largest``, from 1 to 2^126: measuring in it changes no digit."""
    power = (largest.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    return tl.minimum(tl.maximum(power, 1.0), 8.507059173023462e37)


@triton.jit
def _inverse(unit):
    """1 / unit, exactly, which a GPU's division need not be: the exponent is turned round."""
    return (0x7F000000 - unit.to(tl.int32, bitcast=True)).to(tl.float32, bitcast=True)


@triton.jit
def _largest(matrix):
    return tl.max(tl.max(tl.abs(matrix), 1), 0)


@triton.jit
def _joined(
    products, sums, channels, least,
    KP: tl.constexpr, BLOCK_C: tl.constexpr, BLOCKS: tl.constexpr, BLOCKS_PADDED: tl.constexpr,
    AHEAD: tl.constexpr,
):  # fmt: skip
    """X Xᵀ (KP, KP) of all channels, from the products and sums of blocks (README §3), the unit of
    X, which is at least ``least``, and the rows' means (KP).
    """
    classes = tl.arange(0, KP)
    other = tl.arange(0, KP)
    units = sums + BLOCKS * KP
    block = tl.arange(0, BLOCKS_PADDED)
    unit = tl.maximum(tl.max(tl.load(units + block, mask=block < BLOCKS, other=1.0), 0), least)
    inverse = _inverse(unit)
    tile = classes[:, None] * KP + other[None, :]
    total = tl.zeros([KP], tl.float32)
    total_other = tl.zeros([KP], tl.float32)
    matrix = tl.zeros([KP, KP], tl.float32)
    for first in range(0, BLOCKS, AHEAD):
        for ahead in tl.static_range(AHEAD):
            part = first + ahead
            total += tl.load(sums + part * KP + classes)
            total_other += tl.load(sums + part * KP + other)
            ratio = tl.load(units + part) * inverse
            matrix += tl.load(products + part * (KP * KP) + tile) * (ratio * ratio)
    mean = total / channels
    mean_other = total_other / channels
    for first in range(0, BLOCKS, AHEAD):
        for ahead in tl.static_range(AHEAD):
            part = first + ahead
            size = tl.minimum(channels - part * BLOCK_C, BLOCK_C)
            shift = (tl.load(sums + part * KP + classes) / size - mean) * inverse
            shift_other = (tl.load(sums + part * KP + other) / size - mean_other) * inverse
            matrix += size * shift[:, None] * shift_other[None, :]
    return matrix, unit, mean


@triton.jit
def _distance(pixel, text, turned, unit, text_unit, number, epsilon, METRIC: tl.constexpr):
    """Loss, a slope by ``pixel`` and the factor that its product with X lacks.

    Covariances are measured in unit², X in units; all are 0 outside the ``number`` present classes.
    """
    if METRIC == "cosine":
        squared = _inverse(unit) * _inverse(unit)
        pixel_norm = tl.sqrt(_pair_sum(pixel * pixel) + epsilon * squared * squared)
        squared = _inverse(text_unit) * _inverse(text_unit)
        text_norm = tl.sqrt(_pair_sum(text * text) + epsilon * squared * squared)
        cosine = _pair_sum(pixel * text) / (pixel_norm * text_norm)
        value = tl.where(number > 0, 1 - cosine, 0.0)
        slope = cosine * (pixel / pixel_norm) - 0.5 * (text + turned) / text_norm
        slope = slope / pixel_norm
        factor = _inverse(unit)
    else:
        pairs = tl.maximum(number * number, 1.0)
        if METRIC == "l1":
            value = _pair_sum(tl.abs(pixel - text)) / pairs * unit * unit
            slope = 0.5 * (_sign(pixel - text) + _sign(pixel - turned)) / pairs
            factor = unit
        else:
            value = _pair_sum((pixel - text) * (pixel - text)) / pairs * unit * unit * unit * unit
            slope = (2 * pixel - text - turned) / pairs * unit
            factor = unit * unit
    return value, slope, factor


@triton.jit
def _finish(
    products, sums, text_cov, loss, gram, centre, present, present_other, channels, decay, epsilon,
    K: tl.constexpr, KP: tl.constexpr, HAS_BANK: tl.constexpr, METRIC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCKS: tl.constexpr, BLOCKS_PADDED: tl.constexpr,
    BLOCKS_AHEAD: tl.constexpr,
):  # fmt: skip
    """What the last program of `covariance_kernel` does with the parts of all: covariance, loss and
    gradient.

    ``present`` and ``present_other`` (KP) say which classes are present, along rows and columns.
    """
    classes = tl.arange(0, KP)
    other = tl.arange(0, KP)
    both = present[:, None] & present_other[None, :]
    place = classes[:, None] * K + other[None, :]
    text = tl.load(text_cov + place, mask=both, other=0.0)
    # the products are symmetric, so only the symmetric part of the slope has an effect
    turned = tl.load(text_cov + other[None, :] * K + classes[:, None], mask=both, other=0.0)
    text_unit = _unit(tl.sqrt(_largest(text)))
    least = text_unit  # l1 and l2 take a difference, so both are in the same unit
    if METRIC == "cosine":
        least = 1.0
    matrix, unit, mean = _joined(
        products, sums, channels, least, KP, BLOCK_C, BLOCKS, BLOCKS_PADDED, BLOCKS_AHEAD
    )
    pixel = tl.where(both, matrix / (channels - 1), 0.0)
    if METRIC != "cosine":
        text_unit = unit
    text = text * _inverse(text_unit) * _inverse(text_unit)
    turned = turned * _inverse(text_unit) * _inverse(text_unit)
    number = tl.sum(tl.where(present, 1.0, 0.0), 0)
    value, slope, factor = _distance(pixel, text, turned, unit, text_unit, number, epsilon, METRIC)
    scale = 2.0 / (channels - 1)
    if HAS_BANK:
        scale = scale * (1 - decay)
    tl.store(loss, value)
    inside = (classes < K)[:, None] & (other < K)[None, :]
    tl.store(gram + place, tl.where(both, scale * slope, 0.0), mask=inside)
    tl.store(centre + classes, mean, mask=classes < K)
    tl.store(centre + K, _inverse(unit))
    tl.store(centre + K + 1, factor)


@triton.jit
def covariance_kernel(
    pooled, mass, text_cov, bank, new_bank, products, sums, counter, loss, gram, centre, total_mass,
    channels, decay, epsilon,
    K: tl.constexpr, KP: tl.constexpr, SPLITS: tl.constexpr, HAS_BANK: tl.constexpr,
    DIVIDE: tl.constexpr, METRIC: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCKS: tl.constexpr, BLOCKS_PADDED: tl.constexpr,
    SPLITS_AHEAD: tl.constexpr, BLOCKS_AHEAD: tl.constexpr,
):  # fmt: skip
    """Eqs. 8-10: memory bank, covariance, loss and its gradient by the covariance, in one launch.

    ``pooled`` (SPLITS, K, C) and ``mass`` (SPLITS, K) are sums of parts, or means with one split.
    Each program takes a block of channels, writes the block's part of the bank, its products
    centred on the block's own mean (K x K) and its sums (K), and behind all sums the unit of the
    products. The program that finishes last puts the parts together (README §3) and has the loss;
    ``counter`` must be 0 before. Behind the rows' means in ``centre`` stand 1 / unit and the factor
    of the gradient.
    """
    block = tl.program_id(0)
    classes = tl.arange(0, KP)
    real = classes < K
    other = tl.arange(0, KP)
    channel = block * BLOCK_C + tl.arange(0, BLOCK_C)
    offsets = classes[:, None] * channels + channel[None, :]
    inside = real[:, None] & (channel < channels)[None, :]
    vector = tl.zeros([KP, BLOCK_C], tl.float32)
    count = tl.zeros([KP], tl.float32)
    count_other = tl.zeros([KP], tl.float32)
    for first in range(0, SPLITS, SPLITS_AHEAD):
        for ahead in tl.static_range(SPLITS_AHEAD):  # unrolled: their loads wait at the same time
            split = first + ahead
            vector += tl.load(pooled + split * K * channels + offsets, mask=inside, other=0.0)
            count += tl.load(mass + split * K + classes, mask=real, other=0.0)
            count_other += tl.load(mass + split * K + other, mask=other < K, other=0.0)
    present = count > 0
    if DIVIDE:
        vector = vector / tl.where(present, count, 1.0)[:, None]
        if block == 0:
            tl.store(total_mass + classes, count, mask=real)
    old = tl.zeros([KP, BLOCK_C], tl.float32)
    if HAS_BANK:
        old = tl.load(bank + offsets, mask=inside, other=0.0)
        vector = decay * old + (1 - decay) * vector
    tl.store(new_bank + offsets, tl.where(present[:, None], vector, old), mask=inside)

    vector = tl.where(inside & present[:, None], vector, 0.0)
    total = tl.sum(vector, 1)
    mean = total / tl.minimum(channels - block * BLOCK_C, BLOCK_C)
    unit = _unit(_largest(vector))
    centred = tl.where(inside & present[:, None], (vector - mean[:, None]) * _inverse(unit), 0.0)
    product = tl.dot(centred, tl.trans(centred), input_precision=PRECISION)
    tile = classes[:, None] * KP + other[None, :]
    tl.store(products + block * (KP * KP) + tile, product)
    tl.store(sums + block * KP + classes, total)
    tl.store(sums + BLOCKS * KP + block, unit)

    tl.debug_barrier()  # all threads have stored before one of them tells
    finished = tl.atomic_add(counter, 1, sem="acq_rel")
    if finished == BLOCKS - 1:
        _finish(
            products, sums, text_cov, loss, gram, centre, present, count_other > 0, channels, decay,
            epsilon,
            K, KP, HAS_BANK, METRIC, BLOCK_C, BLOCKS, BLOCKS_PADDED, BLOCKS_AHEAD,
        )  # fmt: skip


@triton.jit
def _mean_gradient(
    grad_loss, new_bank, mass, gram, centre, channel, channels,
    K: tl.constexpr, KP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dL/dmean (KP, channels of the program) = gram · X, 0 for absent classes (README §3)."""
    classes = tl.arange(0, KP)
    other = tl.arange(0, KP)
    real = classes < K
    present = tl.load(mass + classes, mask=real, other=0.0) > 0
    inside = present[:, None] & (channel < channels)[None, :]
    vector = tl.load(
        new_bank + classes[:, None] * channels + channel[None, :], mask=inside, other=0.0
    )
    mean = tl.load(centre + classes, mask=real, other=0.0)
    centred = tl.where(inside, (vector - mean[:, None]) * tl.load(centre + K), 0.0)
    square = real[:, None] & (other < K)[None, :]
    slope = tl.load(gram + classes[:, None] * K + other[None, :], mask=square, other=0.0)
    result = tl.dot(slope, centred, input_precision=PRECISION) * tl.load(grad_loss)
    return tl.where(inside, result * tl.load(centre + K + 1), 0.0)


@triton.jit
def covariance_backward_kernel(
    grad_loss, new_bank, mass, gram, centre, out, channels,
    K: tl.constexpr, KP: tl.constexpr, PRECISION: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """dL/dmeans (K, C)."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    gradient = _mean_gradient(
        grad_loss, new_bank, mass, gram, centre, channel, channels, K, KP, PRECISION
    )
    classes = tl.arange(0, KP)
    inside = (classes < K)[:, None] & (channel < channels)[None, :]
    tl.store(out + classes[:, None] * channels + channel[None, :], gradient, mask=inside)


@triton.jit
def pooled_loss_backward_kernel(
    grad_loss, new_bank, mass, gram, centre, labels, weights, out,
    channels, sn, sc, sh, sw, ln, lh, lw,
    last_row, row_step, last_column, column_step, ignore_index,
    h: tl.constexpr, w: tl.constexpr, K: tl.constexpr, PLANE: tl.constexpr,
    KP: tl.constexpr, SOFT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """dL/dfeatures at once: dL/dmeans of a few channels, divided by mass, spread over cells."""
    image, cell, inside = block_of_cells(tl.program_id(0), h, w, BLOCK_Q)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    gradient = _mean_gradient(
        grad_loss, new_bank, mass, gram, centre, channel, channels, K, KP, PRECISION
    )
    classes = tl.arange(0, KP)
    count = tl.load(mass + classes, mask=classes < K, other=0.0)
    gradient = gradient / tl.where(count > 0, count, 1.0)[:, None]
    if SOFT:
        of_class = weights + image * (K * h * w) + classes[:, None] * (h * w) + cell[None, :]
        share = tl.load(of_class, mask=(classes < K)[:, None] & inside[None, :], other=0.0)
        value = tl.dot(tl.trans(gradient), share, input_precision=PRECISION)
    else:
        label = nearest_class(
            labels, image, cell, inside, ln, lh, lw,
            last_row, row_step, last_column, column_step, ignore_index, h, w, K,
        )  # fmt: skip
        index = tl.broadcast_to(tl.maximum(label, 0)[None, :], [BLOCK_C, BLOCK_Q])
        value = tl.gather(tl.trans(gradient), index, 1)
        value = tl.where((label >= 0)[None, :], value, 0.0)
    place = out + image * sn + offsets_of(channel, cell, sc, sh, sw, w, PLANE)
    inside_channels = (channel < channels)[:, None]
    tl.store(place, value.to(out.dtype.element_ty), mask=inside[None, :] & inside_channels)
