"""The losses since the last line of the log, by name."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class RecentLosses:
    """Collects the losses of each step and gives their means. Phases and losses may change between
    two steps: a resumed run can have another config.

    Args:
        device: where the steps compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()  # of the last step
        self._steps: list[tuple[tuple[str, ...], Tensor]] = []

    def add(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Notes the losses of a step, scalars.

        Returns:
            (number of losses,) their values, in the order of ``names``.
        """
        self.names = tuple(losses)
        values = torch.stack(list(losses.values()))
        self._steps.append((self.names, values))
        return values

    def take_means(self) -> dict[str, float]:
        """Mean of each loss over the steps that had it; begins anew."""
        groups = self._groups()
        self._steps.clear()
        if len(groups) == 1:  # one transfer from the device
            names, values = groups[0]
            return dict(zip(names, values.mean(dim=0).tolist(), strict=True))
        means: dict[str, float] = {}
        for name in dict.fromkeys(name for names, _ in groups for name in names):
            columns = [values[:, names.index(name)] for names, values in groups if name in names]
            means[name] = float(torch.cat(columns).mean())
        return means

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint: names and values (steps, losses) of steps with the same losses."""
        return [{"names": list(names), "values": v.cpu()} for names, v in self._groups()]

    def restore(self, state: Iterable[Any]) -> None:
        """Inverse of :meth:`state`. Of older checkpoints, which knew no names, nothing is taken."""
        self._steps = [
            (tuple(group["names"]), values.to(self.device))
            for group in state
            if isinstance(group, dict)
            for values in group["values"]
        ]

    def _groups(self) -> Sequence[tuple[tuple[str, ...], Tensor]]:
        grouped = itertools.groupby(self._steps, key=lambda step: step[0])
        return [(names, torch.stack([v for _, v in steps])) for names, steps in grouped]
