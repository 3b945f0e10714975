"""The network of one resolution: encoder, then decoder."""

from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from ...structures import Box, SegOutput


class EncoderDecoder(nn.Module):
    """Images -> logits at a quarter of the size, and the encoder's features."""

    def __init__(self, backbone: Backbone, sem_seg_head: nn.Module) -> None:
        """Args:
        backbone: detectron2 backbone with the outputs res2..res5.
        sem_seg_head: a head with ``layers(features) -> logits``.
        """
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head

    def forward(self, images: Tensor, crop_box: Box | None = None) -> SegOutput:
        """(N, 3, H, W), normalised -> logits (N, K, H/4, W/4) and features.

        Raises:
            ValueError: if ``crop_box`` is not the whole image: only HRDA looks at a crop.
        """
        whole = (0, images.shape[-2], 0, images.shape[-1])
        if crop_box is not None and tuple(crop_box) != whole:
            raise ValueError(f"one resolution has no detail crop: a box is {whole}, not {crop_box}")
        output = self.encode(images)
        output.logits = self.sem_seg_head.layers(output.features)
        return output

    def encode(self, images: Tensor) -> SegOutput:
        """(N, 3, H, W), normalised -> features alone, for losses that need no more."""
        return SegOutput(None, features=self.backbone(images), images=images)

    def predict(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K, H, W), in whatever mode the network is."""
        logits = self(images).logits
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
