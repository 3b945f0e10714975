"""Triton kernels of class pooling; launched by ``triton_impl.py``, derived in ``README.md``.

Sizes of features are compile-time constants: positions of cells are then shifts and masks. Names:
``h, w`` cells of an image, ``height, width`` pixels of its labels, ``K`` classes, ``KP`` = K padded
to a power of two; strides are in elements.
"""

import triton
import triton.language as tl


@triton.jit
def block_of_cells(task, h: tl.constexpr, w: tl.constexpr, BLOCK_Q: tl.constexpr):
    """Image and cells of the task-th block: blocks do not cross images. The image is int64, so that
    its offset does not overflow; offsets within an image fit int32.
    """
    blocks: tl.constexpr = (h * w + BLOCK_Q - 1) // BLOCK_Q
    cell = (task % blocks) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    return tl.full([], 0, tl.int64) + task // blocks, cell, cell < h * w


@triton.jit
def offsets_of(channel, cell, sc, sh, sw, w: tl.constexpr, PLANE: tl.constexpr):
    """(C, Q) offsets within an image. PLANE: rows follow each other evenly, so that cells are one
    axis and neighbours are read together.
    """
    if PLANE:
        return channel[:, None] * sc + (cell * sw)[None, :]
    return channel[:, None] * sc + ((cell // w) * sh + (cell % w) * sw)[None, :]


@triton.jit
def _sampled(index, cells: tl.constexpr, last, step):
    """``torch.linspace(0, last, cells)[index].long()`` in its own rounding: both halves count from
    their end, and the product is fused with the subtraction.
    """
    down = tl.fma(-step, (cells - 1 - index).to(tl.float32), last)
    return tl.where(index < cells // 2, step * index.to(tl.float32), down).to(tl.int32)


@triton.jit
def _class_of(raw, inside, ignore_index, K: tl.constexpr):
    """int32 class of each label, -1 where it does not count. ``raw`` keeps its dtype here: an int64
    beyond int32 must not wrap into a class.
    """
    if raw.dtype == tl.uint8:
        raw = raw.to(tl.int32)
    counted = inside & (raw >= 0) & (raw < K) & (raw != ignore_index)
    return tl.where(counted, raw, -1).to(tl.int32)


@triton.jit
def nearest_class(
    labels, image, cell, inside, ln, lh, lw,
    last_row, row_step, last_column, column_step, ignore_index,
    h: tl.constexpr, w: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Class of the label that is sampled for each cell."""
    y = _sampled(cell // w, h, last_row, row_step)
    x = _sampled(cell % w, w, last_column, column_step)
    raw = tl.load(labels + image * ln + (y * lh + x * lw), mask=inside, other=0)
    return _class_of(raw, inside, ignore_index, K)


@triton.jit
def _window(cell, length, cells, BILINEAR: tl.constexpr):
    """Pixels that may reach a cell along one axis: [start, stop)."""
    if BILINEAR:
        # the tent of cell i spans positions i - 1 .. i + 1; a pixel more on both sides is harmless
        start = (2 * cell - 1) * length // (2 * cells) - 1
        stop = (2 * cell + 3) * length // (2 * cells) + 2
        return tl.maximum(start, 0), tl.minimum(stop, length)
    return cell * length // cells, ((cell + 1) * length + cells - 1) // cells


@triton.jit
def _share(pixel, cell, length, cells, BILINEAR: tl.constexpr):
    """Weight of pixels of a cell's window in that cell, along one axis.

    Bilinear: 1 - |position - cell|, position = (pixel + 1/2) · cells / length - 1/2 clamped to the
    cells; in units of 1 / (2 · length) it is an integer, so only the division rounds.
    """
    if BILINEAR:
        position = (2 * pixel + 1) * cells - length
        position = tl.minimum(tl.maximum(position, 0), 2 * length * (cells - 1))
        distance = tl.abs(position - 2 * length * cell)
        return tl.maximum(2 * length - distance, 0).to(tl.float32) / (2 * length)
    start, stop = _window(cell, length, cells, BILINEAR)
    inside = (pixel >= start) & (pixel < stop)
    return tl.where(inside, 1.0 / (stop - start).to(tl.float32), 0.0)


@triton.jit
def weights_kernel(
    labels, weights, height, width, ln, lh, lw, ignore_index,
    h: tl.constexpr, w: tl.constexpr, K: tl.constexpr,
    BILINEAR: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_W: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Soft modes: W (N, K, h·w). One program reads the window of one cell, for a block of classes.

    ``W_c = Wy · 1[y = c] · Wxᵀ`` (README §1), restricted to where Wy and Wx of this cell are not 0.
    """
    image, cell = (tl.program_id(0) // (h * w)).to(tl.int64), tl.program_id(0) % (h * w)
    row, column = cell // w, cell % w
    classes = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    top, bottom = _window(row, height, h, BILINEAR)
    left, right = _window(column, width, w, BILINEAR)
    total = tl.zeros([BLOCK_K, BLOCK_W], tl.float32)
    for block in range(left, right, BLOCK_W):
        x = block + tl.arange(0, BLOCK_W)
        column_share = _share(x, column, width, w, BILINEAR)
        for first in range(top, bottom, ROWS):
            for ahead in tl.static_range(ROWS):  # unrolled: their loads wait at the same time
                y = first + ahead
                inside = (x < right) & (y < bottom)
                raw = tl.load(labels + image * ln + (y * lh + x * lw), mask=inside, other=0)
                label = _class_of(raw, inside, ignore_index, K)
                share = column_share * _share(y, row, height, h, BILINEAR)
                total += tl.where(label[None, :] == classes[:, None], share[None, :], 0.0)
    offsets = (image * K + classes) * (h * w) + cell
    tl.store(weights + offsets, tl.sum(total, 1), mask=classes < K)


@triton.jit
def _exact_product(value, chosen, STORED: tl.constexpr, SHORT: tl.constexpr):
    """float32 ``value`` (C, Q) times a matrix of 0 and 1 (Q, K), on the matrix units but exact.

    What is ``STORED`` as float32 is the sum of three bfloat16, each the leading digits of the rest.
    ``SHORT`` is bfloat16 (float32 in the interpreter, which has no bfloat16 products).
    """
    if tl.float32 == STORED:
        high = (value.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)
        rest = value - high
        middle = (rest.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)
        low = rest - middle
        chosen = chosen.to(SHORT)
        total = tl.dot(low.to(SHORT), chosen)
        total = tl.dot(middle.to(SHORT), chosen, total)
        return tl.dot(high.to(SHORT), chosen, total)
    elif tl.bfloat16 == STORED:
        return tl.dot(value.to(SHORT), chosen.to(SHORT))
    else:
        return tl.dot(value.to(STORED), chosen.to(STORED))


@triton.jit
def _values_of(
    features, image, channel, cell, inside, channels, sn, sc, sh, sw,
    w: tl.constexpr, PLANE: tl.constexpr,
):  # fmt: skip
    """float32 (C, Q) features of an image's cells, with ones behind the last channel."""
    read = inside[None, :] & (channel < channels)[:, None]
    offsets = offsets_of(channel, cell, sc, sh, sw, w, PLANE)
    value = tl.load(features + image * sn + offsets, mask=read, other=0.0).to(tl.float32)
    return tl.where((channel == channels)[:, None], 1.0, value)


@triton.jit
def pool_kernel(
    features, labels, weights, sums, mass, counter, channels, tasks,
    sn, sc, sh, sw, ln, lh, lw, last_row, row_step, last_column, column_step, ignore_index,
    h: tl.constexpr, w: tl.constexpr, K: tl.constexpr, PLANE: tl.constexpr, BLOCK_K: tl.constexpr,
    SOFT: tl.constexpr, PRECISION: tl.constexpr, SHORT: tl.constexpr, SPLITS: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """Eqs. 6-7: sums (splits, K, C) and mass (splits, K) of each class.

    One program takes some channels, every SPLITS-th block of cells and a block of classes. Nothing
    is added atomically, so results are the same in each run. Behind the last channel stands one of
    ones, whose sums are the masses.
    """
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    split = tl.program_id(1)
    classes = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    if tl.program_id(0) + split + tl.program_id(2) == 0:
        tl.store(counter, 0)  # of the programs of the next kernel that have finished
    total = tl.zeros([BLOCK_C, BLOCK_K], tl.float32)
    for task in range(split, tasks, SPLITS):
        image, cell, inside = block_of_cells(task, h, w, BLOCK_Q)
        value = _values_of(
            features, image, channel, cell, inside, channels, sn, sc, sh, sw, w, PLANE
        )
        if SOFT:
            of_class = weights + image * (K * h * w) + classes[None, :] * (h * w) + cell[:, None]
            read = inside[:, None] & (classes < K)[None, :]
            share = tl.load(of_class, mask=read, other=0.0)
            total += tl.dot(value, share, input_precision=PRECISION)
        else:
            label = nearest_class(
                labels, image, cell, inside, ln, lh, lw,
                last_row, row_step, last_column, column_step, ignore_index, h, w, K,
            )  # fmt: skip
            chosen = label[:, None] == classes[None, :]
            total += _exact_product(value, chosen, features.dtype.element_ty, SHORT)
    # 0 · NaN is NaN: a NaN or infinity spreads over all classes of its channel. That is rare, so
    # only then are the sums made again, by selection
    if tl.max(tl.max(tl.where(tl.abs(total) < float("inf"), 0, 1), 1), 0) > 0:
        total = tl.zeros([BLOCK_C, BLOCK_K], tl.float32)
        for task in range(split, tasks, SPLITS):
            image, cell, inside = block_of_cells(task, h, w, BLOCK_Q)
            value = _values_of(
                features, image, channel, cell, inside, channels, sn, sc, sh, sw, w, PLANE
            )
            label = tl.zeros([BLOCK_Q], tl.int32)
            if not SOFT:
                label = nearest_class(
                    labels, image, cell, inside, ln, lh, lw,
                    last_row, row_step, last_column, column_step, ignore_index, h, w, K,
                )  # fmt: skip
            for part in range(BLOCK_K):
                k = tl.program_id(2) * BLOCK_K + part
                share = tl.where(label == k, 1.0, 0.0)
                if SOFT:
                    of_class = weights + image * (K * h * w) + k * (h * w) + cell
                    share = tl.load(of_class, mask=inside & (k < K), other=0.0)
                chosen = tl.where((share > 0)[None, :], share[None, :] * value, 0.0)
                total += tl.where((classes == k)[None, :], tl.sum(chosen, 1)[:, None], 0.0)
    inside_classes = (classes < K)[None, :]
    place = (split * K + classes)[None, :] * channels + channel[:, None]
    tl.store(sums + place, total, mask=(channel < channels)[:, None] & inside_classes)
    place = (split * K + classes)[None, :] + 0 * channel[:, None]
    tl.store(mass + place, total, mask=(channel == channels)[:, None] & inside_classes)


@triton.jit
def combine_kernel(
    sums, mass, pooled, total_mass, channels,
    K: tl.constexpr, SPLITS: tl.constexpr, DIVIDE: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Adds the splits of ``pool_kernel``, in order: sums or means (K, C) and mass (K,). One program
    has some channels of one class.
    """
    k = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < channels
    total = tl.zeros([BLOCK_C], tl.float32)
    count = 0.0
    for split in tl.static_range(SPLITS):
        total += tl.load(sums + (split * K + k) * channels + channel, mask=inside, other=0.0)
        count += tl.load(mass + split * K + k)
    if DIVIDE:
        total = total / tl.where(count > 0, count, 1.0)
    tl.store(pooled + k * channels + channel, total, mask=inside)
    if tl.program_id(1) == 0:
        tl.store(total_mass + k, count)


@triton.jit
def pool_backward_kernel(
    gradient, labels, weights, mass, out, channels, sn, sc, sh, sw, ln, lh, lw,
    last_row, row_step, last_column, column_step, ignore_index,
    h: tl.constexpr, w: tl.constexpr, K: tl.constexpr, PLANE: tl.constexpr,
    SOFT: tl.constexpr, DIVIDE: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """df(n, :, q) = Σ_c W_c(n, q) · g_c / mass_c; in ``nearest`` mode one row of g is read.

    ``gradient`` is (K, C), ``out`` has the strides sn, sc, sh, sw.
    """
    image, cell, inside = block_of_cells(tl.program_id(0), h, w, BLOCK_Q)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    real = (channel < channels)[:, None]
    if SOFT:
        value = tl.zeros([BLOCK_C, BLOCK_Q], tl.float32)
        for k in range(K):
            of_class = weights + image * (K * h * w) + k * (h * w) + cell
            share = tl.load(of_class, mask=inside, other=0.0)
            part = tl.load(gradient + k * channels + channel, mask=channel < channels, other=0.0)
            if DIVIDE:
                count = tl.load(mass + k)
                part = part / tl.where(count > 0, count, 1.0)
            value += tl.where((share > 0)[None, :], share[None, :] * part[:, None], 0.0)
    else:
        label = nearest_class(
            labels, image, cell, inside, ln, lh, lw,
            last_row, row_step, last_column, column_step, ignore_index, h, w, K,
        )  # fmt: skip
        counted = (label >= 0)[None, :] & real
        value = tl.load(
            gradient + (label[None, :] * channels + channel[:, None]), mask=counted, other=0.0
        )
        if DIVIDE:
            value = value / tl.load(mass + label, mask=label >= 0, other=1.0)[None, :]
    place = out + image * sn + offsets_of(channel, cell, sc, sh, sw, w, PLANE)
    tl.store(place, value.to(out.dtype.element_ty), mask=inside[None, :] & real)
