"""When the losses of an iteration are back-propagated; the gradients are the same up to rounding.

The schemes differ in memory and time: the graph of one phase at a time is kept, or all of them; the
source encoder is passed backwards once, or once for each loss on its features.
"""

from collections.abc import Iterable

from torch import Tensor

Losses = dict[str, Tensor]


def back_propagate(phases: Iterable[Losses], scheme: str) -> Losses:
    """Adds the gradients of all losses to the parameters.

    Args:
        phases: the losses of each phase, computed as they are asked for.
        scheme: "phase": one backward pass for the sum of a phase's losses; "loss": one for each
            loss, as the code that CoPT's authors released; "sum": one for all, after the last
            phase.
    Returns:
        all losses, detached.
    """
    losses: Losses = {}
    waiting: list[Tensor] = []
    for phase in phases:
        if scheme == "phase":
            sum(phase.values()).backward()
        elif scheme == "loss":
            _back_propagate_each(list(phase.values()))
        else:
            waiting += phase.values()
        losses.update({name: loss.detach() for name, loss in phase.items()})
    if waiting:
        sum(waiting).backward()
    return losses


def _back_propagate_each(values: list[Tensor]) -> None:
    # a loss without a graph (no cell of its classes) is 0 and has no gradient
    values = [loss for loss in values if loss.requires_grad]
    for loss in values:
        loss.backward(retain_graph=loss is not values[-1])
