import pytest
import torch
from torch import nn

from copt_d2.solver import build_lr_scheduler, build_optimizer, poly_warmup_factor

PAPER = (40_000, 1500, 1e-6, 1.0)


@pytest.mark.parametrize(
    ("iteration", "factor"),
    [
        (0, 1e-6),  # decay 1, warm-up 1e-6
        (750, 0.98125 * (1 - 0.5 * 0.999999)),
        (1499, (38_501 / 40_000) * (1 - 0.999999 / 1500)),
        (1500, 0.9625),
        (20_000, 0.5),
        (39_999, 1 / 40_000),
        (40_000, 0.0),
        (40_001, 0.0),
    ],
)
def test_values_of_the_papers_schedule(iteration, factor):
    assert poly_warmup_factor(iteration, *PAPER) == pytest.approx(factor, rel=1e-9, abs=1e-15)


def test_power_and_no_warm_up():
    assert poly_warmup_factor(0, 100, 0, 1e-6, 0.9) == 1.0
    assert poly_warmup_factor(75, 100, 0, 1e-6, 0.5) == pytest.approx(0.5)  # 0.25 ** 0.5


def test_the_scheduler_scales_every_group(tiny_cfg):
    tiny_cfg.SOLVER.MAX_ITER, tiny_cfg.SOLVER.WARMUP_ITERS = 8, 2
    tiny_cfg.SOLVER.WARMUP_FACTOR = 0.1
    model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
    optimizer = build_optimizer(tiny_cfg, model)
    scheduler = build_lr_scheduler(tiny_cfg, optimizer)
    # (1 - t/8), times 0.1 at t = 0 and 0.55 at t = 1
    for factor in (0.1, 7 / 8 * 0.55, 6 / 8, 5 / 8):
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert rates["rest"] == pytest.approx(6e-5 * factor)
        assert rates["head"] == pytest.approx(6e-4 * factor)
        model["head"](model["encoder"](torch.ones(1, 2))).sum().backward()
        optimizer.step()
        scheduler.step()
