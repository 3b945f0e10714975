"""The Triton kernels; launched by ``triton_impl.py``, derived in ``README.md``.

Sizes of features are compile-time constants: positions of cells are then shifts and masks. Names:
``h, w`` cells of an image, ``height, width`` pixels of its labels, ``K`` classes, ``KP`` = K padded
to a power of two; strides are in elements.
"""

import triton
import triton.language as tl


@triton.jit
def _cells(task, h: tl.constexpr, w: tl.constexpr, BLOCK_Q: tl.constexpr):
    """Image and cells of the task-th block: blocks do not cross images. The image is int64, so that
    its offset does not overflow; offsets within an image fit int32.
    """
    blocks: tl.constexpr = (h * w + BLOCK_Q - 1) // BLOCK_Q
    cell = (task % blocks) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    return tl.full([], 0, tl.int64) + task // blocks, cell, cell < h * w


@triton.jit
def _offsets(channel, cell, sc, sh, sw, w: tl.constexpr, PLANE: tl.constexpr):
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
def _nearest_class(
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
        image, cell, inside = _cells(task, h, w, BLOCK_Q)
        read = inside[None, :] & (channel < channels)[:, None]
        offsets = _offsets(channel, cell, sc, sh, sw, w, PLANE)
        value = tl.load(features + image * sn + offsets, mask=read, other=0.0).to(tl.float32)
        value = tl.where((channel == channels)[:, None], 1.0, value)
        if SOFT:
            of_class = weights + image * (K * h * w) + classes[None, :] * (h * w) + cell[:, None]
            read = inside[:, None] & (classes < K)[None, :]
            share = tl.load(of_class, mask=read, other=0.0)
            total += tl.dot(value, share, input_precision=PRECISION)
        else:
            label = _nearest_class(
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
            image, cell, inside = _cells(task, h, w, BLOCK_Q)
            read = inside[None, :] & (channel < channels)[:, None]
            offsets = _offsets(channel, cell, sc, sh, sw, w, PLANE)
            value = tl.load(features + image * sn + offsets, mask=read, other=0.0).to(tl.float32)
            value = tl.where((channel == channels)[:, None], 1.0, value)
            label = tl.zeros([BLOCK_Q], tl.int32)
            if not SOFT:
                label = _nearest_class(
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
    image, cell, inside = _cells(tl.program_id(0), h, w, BLOCK_Q)
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
        label = _nearest_class(
            labels, image, cell, inside, ln, lh, lw,
            last_row, row_step, last_column, column_step, ignore_index, h, w, K,
        )  # fmt: skip
        counted = (label >= 0)[None, :] & real
        value = tl.load(
            gradient + (label[None, :] * channels + channel[:, None]), mask=counted, other=0.0
        )
        if DIVIDE:
            value = value / tl.load(mass + label, mask=label >= 0, other=1.0)[None, :]
    place = out + image * sn + _offsets(channel, cell, sc, sh, sw, w, PLANE)
    tl.store(place, value.to(out.dtype.element_ty), mask=inside[None, :] & real)


@triton.jit
def _pair_sum(matrix):
    return tl.sum(tl.sum(matrix, 1), 0)


@triton.jit
def _sign(matrix):
    """-1, 0 or 1; NaN stays."""
    return tl.where(matrix > 0, 1.0, tl.where(matrix < 0, -1.0, matrix))


@triton.jit
def covariance_kernel(
    pooled, mass, text_cov, bank, new_bank, products, sums, counter, loss, gram, centre, total_mass,
    channels, decay, epsilon,
    K: tl.constexpr, KP: tl.constexpr, SPLITS: tl.constexpr, HAS_BANK: tl.constexpr,
    DIVIDE: tl.constexpr, METRIC: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Eqs. 8-10: memory bank, covariance, loss and its gradient by the covariance, in one launch.

    ``pooled`` (SPLITS, K, C) and ``mass`` (SPLITS, K) are sums of parts, or means with one split.
    Each program takes a block of channels, writes the block's part of the bank, its products
    centred on the block's own mean (K x K) and its sums (K). The program that finishes last puts
    the parts together (README §3) and has the loss; ``counter`` must be 0 before.
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
    for split in tl.static_range(SPLITS):
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
    centred = tl.where(inside & present[:, None], vector - mean[:, None], 0.0)
    product = tl.dot(centred, tl.trans(centred), input_precision=PRECISION)
    tile = classes[:, None] * KP + other[None, :]
    tl.store(products + block * (KP * KP) + tile, product)
    tl.store(sums + block * KP + classes, total)

    tl.debug_barrier()  # all threads have stored before one of them tells
    finished = tl.atomic_add(counter, 1, sem="acq_rel")
    if finished == BLOCKS - 1:
        total = tl.zeros([KP], tl.float32)
        total_other = tl.zeros([KP], tl.float32)
        matrix = tl.zeros([KP, KP], tl.float32)
        for part in tl.static_range(BLOCKS):  # unrolled: all loads wait at the same time
            total += tl.load(sums + part * KP + classes)
            total_other += tl.load(sums + part * KP + other)
            matrix += tl.load(products + part * (KP * KP) + tile)
        mean = total / channels
        mean_other = total_other / channels
        for part in tl.static_range(BLOCKS):
            size = tl.minimum(channels - part * BLOCK_C, BLOCK_C)
            shift = tl.load(sums + part * KP + classes) / size - mean
            shift_other = tl.load(sums + part * KP + other) / size - mean_other
            matrix += size * shift[:, None] * shift_other[None, :]
        pixel = matrix / (channels - 1)

        both = present[:, None] & (count_other > 0)[None, :]
        pixel = tl.where(both, pixel, 0.0)
        place = classes[:, None] * K + other[None, :]
        text = tl.load(text_cov + place, mask=both, other=0.0)
        # the products are symmetric, so only the symmetric part of the slope has an effect
        turned = tl.load(text_cov + other[None, :] * K + classes[:, None], mask=both, other=0.0)
        number = tl.sum(tl.where(present, 1.0, 0.0), 0)
        if METRIC == "cosine":
            pixel_norm = tl.sqrt(_pair_sum(pixel * pixel) + epsilon)
            text_norm = tl.sqrt(_pair_sum(text * text) + epsilon)
            cosine = _pair_sum(pixel * text) / (pixel_norm * text_norm)
            value = tl.where(number > 0, 1 - cosine, 0.0)
            slope = cosine * (pixel / pixel_norm) - 0.5 * (text + turned) / text_norm
            slope = slope / pixel_norm
        else:
            pairs = tl.maximum(number * number, 1.0)
            if METRIC == "l1":
                value = _pair_sum(tl.abs(pixel - text)) / pairs
                slope = 0.5 * (_sign(pixel - text) + _sign(pixel - turned)) / pairs
            else:
                value = _pair_sum((pixel - text) * (pixel - text)) / pairs
                slope = (2 * pixel - text - turned) / pairs
        scale = 2.0 / (channels - 1)
        if HAS_BANK:
            scale = scale * (1 - decay)
        tl.store(loss, value)
        matrix_inside = real[:, None] & (other < K)[None, :]
        tl.store(gram + place, tl.where(both, scale * slope, 0.0), mask=matrix_inside)
        tl.store(centre + classes, mean, mask=real)


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
    centred = tl.where(inside, vector - mean[:, None], 0.0)
    square = real[:, None] & (other < K)[None, :]
    slope = tl.load(gram + classes[:, None] * K + other[None, :], mask=square, other=0.0)
    result = tl.dot(slope, centred, input_precision=PRECISION) * tl.load(grad_loss)
    return tl.where(inside, result, 0.0)


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
    image, cell, inside = _cells(tl.program_id(0), h, w, BLOCK_Q)
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
        label = _nearest_class(
            labels, image, cell, inside, ln, lh, lw,
            last_row, row_step, last_column, column_step, ignore_index, h, w, K,
        )  # fmt: skip
        index = tl.broadcast_to(tl.maximum(label, 0)[None, :], [BLOCK_C, BLOCK_Q])
        value = tl.gather(tl.trans(gradient), index, 1)
        value = tl.where((label >= 0)[None, :], value, 0.0)
    place = out + image * sn + _offsets(channel, cell, sc, sh, sw, w, PLANE)
    inside_channels = (channel < channels)[:, None]
    tl.store(place, value.to(out.dtype.element_ty), mask=inside[None, :] & inside_channels)
