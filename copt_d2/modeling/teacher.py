"""The mean teacher: an exponential moving average of the student that labels target images."""

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ..structures import DomainBatch, PseudoLabels
from .pseudo_labels import make_pseudo_labels


def ema_momentum(iteration: int, alpha: float) -> float:
    """Share of the old teacher kept at an iteration: min(1 - 1 / (t + 1), alpha); 0 = the student
    is copied.
    """
    return min(1 - 1 / (iteration + 1), alpha)


class EMATeacher(nn.Module):
    """Holds the averaged network and makes pseudo-labels with it.

    Only parameters are averaged. Batch norms normalise with the statistics of the batch at hand, as
    in the student; dropout and stochastic depth are off. The network therefore stays in train mode
    whatever mode the model is in.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        alpha: float = 0.999,
        threshold: float = 0.968,
        ignore_top: int = 0,
        ignore_bottom: int = 0,
    ) -> None:
        """Args:
        network: a copy of the student; its parameters stop requiring gradients.
        alpha: largest share of the old teacher kept in an update.
        threshold: confidence from which a pixel counts for the pseudo-label weight.
        ignore_top: untrusted rows at the top of every crop.
        ignore_bottom: untrusted rows at the bottom of every crop.
        """
        super().__init__()
        self.network = network.requires_grad_(False)
        self.alpha = alpha
        self.threshold = threshold
        self.ignore_top = ignore_top
        self.ignore_bottom = ignore_bottom
        self.train()

    def train(self, mode: bool = True) -> "EMATeacher":
        """Keeps batch norms in train mode and random layers off, whatever ``mode`` says."""
        super().train(mode)
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, (_DropoutNd, DropPath)):
                module.eval()
        return self

    @torch.no_grad()
    def update(self, student: nn.Module, iteration: int) -> None:
        """Moves the parameters towards the student's; iteration 0 copies them. Call before the
        phases.
        """
        momentum = ema_momentum(iteration, self.alpha)
        mine, theirs = list(self.network.parameters()), list(student.parameters())
        if momentum == 0:
            torch._foreach_copy_(mine, theirs)
            return
        torch._foreach_mul_(mine, momentum)
        torch._foreach_add_(mine, theirs, alpha=1 - momentum)

    def predict(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, H, W) logits."""
        return self.network.predict(images)

    @torch.no_grad()
    def pseudo_labels(self, target: DomainBatch) -> PseudoLabels:
        """Labels and weights of clean target images; no gradient."""
        return make_pseudo_labels(
            self.predict(target.images),
            self.threshold,
            valid=target.valid,
            ignore_top=self.ignore_top,
            ignore_bottom=self.ignore_bottom,
        )
