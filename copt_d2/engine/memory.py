"""What is told when memory does not suffice, on the GPU or on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.config import CfgNode

from ..errors import InputError, is_out_of_memory

GENERAL = (
    "lower INPUT.CROP.SIZE or SOLVER.IMS_PER_BATCH, set SOLVER.AMP.ENABLED True and "
    "SOLVER.BACKWARD phase (training), or lower TEST.WINDOW or MODEL.HRDA.WINDOW_BATCH (evaluation)"
)


def memory_line(error: BaseException, advice: str = GENERAL) -> str:
    """One line: what was wanted, as the library says it, and what needs less."""
    words = str(error).split() or [type(error).__name__]
    said = " ".join(words)
    return f"out of memory: {advice} ({said if len(said) <= 200 else said[:197] + '...'})"


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Inside, an error of memory becomes an ``InputError`` that says what to do."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(memory_line(error, advice)) from error


def training_advice(cfg: CfgNode) -> str:
    """What needs less memory in training, with the values of this config."""
    solver = cfg.SOLVER
    sizes = {"INPUT.CROP.SIZE": tuple(cfg.INPUT.CROP.SIZE)}
    sizes["SOLVER.IMS_PER_BATCH"] = solver.IMS_PER_BATCH
    if cfg.MODEL.HRDA.ENABLED:
        sizes["MODEL.HRDA.CROP_SIZE"] = cfg.MODEL.HRDA.CROP_SIZE
    return (
        f"lower {' or '.join(f'{key} ({value})' for key, value in sizes.items())}, or set "
        f"SOLVER.AMP.ENABLED True (it is {solver.AMP.ENABLED}) and SOLVER.BACKWARD phase "
        f"(it is {solver.BACKWARD}); earlier checkpoints are intact"
    )


def evaluation_advice(cfg: CfgNode) -> str:
    """The same for evaluation."""
    window = tuple(cfg.TEST.WINDOW)
    change = f"lower TEST.WINDOW and TEST.STRIDE ({window})" if window else "set TEST.WINDOW"
    ways = [change, "lower the box INPUT.TEST_RESIZE"]
    if cfg.MODEL.HRDA.ENABLED:
        ways.insert(0, f"lower MODEL.HRDA.WINDOW_BATCH ({cfg.MODEL.HRDA.WINDOW_BATCH})")
    return f"in evaluation, {', or '.join(ways)}"
