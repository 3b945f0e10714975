"""Learning-rate factor: linear warm-up times polynomial decay."""


def poly_warmup_factor(
    iteration: int, max_iter: int, warmup_iters: int, warmup_ratio: float, power: float
) -> float:
    """Factor on the base learning rate; the warm-up multiplies the decayed value.

    (1 - t / T)^power, and for t < W additionally 1 - (1 - t / W) (1 - ratio).

    Args:
        iteration: t, 0-based; the last step uses ``max_iter - 1``.
        max_iter: T.
        warmup_iters: W; 0 = no warm-up.
        warmup_ratio: the warm-up's factor at t = 0.
        power: of the decay.
    """
    factor = max(1 - iteration / max_iter, 0.0) ** power
    if iteration < warmup_iters:
        factor *= 1 - (1 - iteration / warmup_iters) * (1 - warmup_ratio)
    return factor
