"""The training iteration of CoPT and its hosts (self-training of DAFormer, masked images of MIC),
and inference.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor, nn

from ...augment import class_mix_masks, draw_strong, mix, patch_mask, strong_augment
from ...errors import InputError
from ...structures import (
    IGNORE_INDEX,
    DomainBatch,
    PseudoLabels,
    SegOutput,
    StepDraws,
    StrongDraw,
)
from ..losses import build_feature_losses, cross_entropy
from ..networks import build_segmentation_network
from ..preprocessing import ImagePreprocessor
from ..sliding_window import predict_windows
from ..teacher import EMATeacher

PHASES = ("source", "mixed", "masked")
Losses = dict[str, Tensor]


@META_ARCH_REGISTRY.register()
class UDASegmentor(nn.Module):
    """A student that learns from labelled source and unlabelled target images, with a teacher for
    the latter.

    The phases and the losses on the source features are lists in the config; a method differs from
    another by them.
    """

    @configurable
    def __init__(
        self,
        *,
        student: nn.Module,
        teacher: EMATeacher | None,
        feature_losses: nn.ModuleDict,
        target_feature_losses: nn.ModuleDict | None = None,
        preprocessor: ImagePreprocessor,
        phases: Sequence[str] = PHASES,
        strong: dict[str, float] | None = None,
        mask_ratio: float = 0.7,
        mask_block_size: int = 64,
        mask_weight: float = 1.0,
        mask_domains: Sequence[str] = ("target",),
        mask_augment: bool = True,
        detail_loss_weight: float = 0.1,
        test_window: tuple[int, int] | None = None,
        test_stride: tuple[int, int] | None = None,
    ) -> None:
        """Args:
            student: the trained network; ``student(images)`` returns a ``SegOutput``.
            teacher: its moving average; ``None`` if no phase needs pseudo-labels.
            feature_losses: key -> module with ``on_output(output, labels)``, for the source pass.
            target_feature_losses: the same for a pass over the clean target images with their
                pseudo-labels; ``None`` or empty = there is no such pass.
            preprocessor: uint8 dicts of the mappers -> normalised batches.
            phases: which of "source", "mixed", "masked" an iteration has.
            strong: keyword arguments of :func:`copt_d2.augment.draw_strong`.
            mask_ratio: share of hidden patches in the masked pass.
            mask_block_size: side of a patch in pixels.
            mask_weight: factor of the masked pass's losses.
            mask_domains: "target", "source" or both, see :meth:`masked_losses`.
            mask_augment: whether the masked pass has colour jitter and blur.
            detail_loss_weight: share of the detail crop's loss (HRDA), in [0, 1].
            test_window: (h, w) of the sliding window; ``None`` = the whole image.
            test_stride: (h, w) step of the window.
        Raises:
            InputError: if a phase or domain is unknown, or needs a teacher and there is none.
        """
        super().__init__()
        _check_names("PHASES", phases, PHASES)
        _check_names("MASK_DOMAINS", mask_domains, ("source", "target"))
        if teacher is None and (set(phases) - {"source"} or target_feature_losses):
            raise InputError(f"MODEL.UDA.PHASES {tuple(phases)} need a teacher")
        self.student = student
        self.teacher = teacher
        self.feature_losses = feature_losses
        self.target_feature_losses = target_feature_losses or nn.ModuleDict()
        self.preprocessor = preprocessor
        self.phases = tuple(phases)
        self.strong = strong or {
            "jitter_probability": 0.8,
            "jitter_strength": 0.2,
            "blur_probability": 0.5,
        }
        self.mask_ratio = mask_ratio
        self.mask_block_size = mask_block_size
        self.mask_weight = mask_weight
        self.mask_domains = tuple(mask_domains)
        self.mask_augment = mask_augment
        self.detail_loss_weight = detail_loss_weight
        self.test_window = test_window
        self.test_stride = test_stride
        self.diagnostics: dict[str, Tensor] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads MODEL.UDA and builds the parts."""
        uda = cfg.MODEL.UDA
        student = build_segmentation_network(cfg)
        teacher = None
        if set(uda.PHASES) - {"source"} or uda.TARGET_FEATURE_LOSSES:
            teacher = EMATeacher(
                copy.deepcopy(student),
                alpha=uda.TEACHER_ALPHA,
                threshold=uda.PSEUDO_THRESHOLD,
                ignore_top=uda.IGNORE_TOP,
                ignore_bottom=uda.IGNORE_BOTTOM,
            )
        return {
            "student": student,
            "teacher": teacher,
            "feature_losses": build_feature_losses(cfg, encoder=student.backbone),
            "target_feature_losses": build_feature_losses(
                cfg, encoder=student.backbone, option="TARGET_FEATURE_LOSSES"
            ),
            "preprocessor": ImagePreprocessor(cfg),
            "phases": uda.PHASES,
            "strong": {
                "jitter_probability": uda.JITTER_PROBABILITY,
                "jitter_strength": uda.JITTER_STRENGTH,
                "blur_probability": uda.BLUR_PROBABILITY,
            },
            "mask_ratio": uda.MASK_RATIO,
            "mask_block_size": uda.MASK_BLOCK_SIZE,
            "mask_weight": uda.MASK_WEIGHT,
            "mask_domains": uda.MASK_DOMAINS,
            "mask_augment": uda.MASK_AUGMENT,
            "detail_loss_weight": cfg.MODEL.HRDA.DETAIL_LOSS_WEIGHT,
            "test_window": tuple(cfg.TEST.WINDOW) or None,
            "test_stride": tuple(cfg.TEST.STRIDE or cfg.TEST.WINDOW) or None,
        }

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.preprocessor.mean.device

    # the iteration

    def training_phases(
        self, source: DomainBatch, target: DomainBatch, draws: StepDraws | None = None
    ) -> Iterator[Losses]:
        """One dict of losses per phase; the caller may back-propagate each before it asks for the
        next.

        Args:
            source: labelled images.
            target: unlabelled images, as many and as large; not used by the source phase.
            draws: random choices to replay; missing ones are drawn.
        """
        draws = draws or StepDraws()
        if "source" in self.phases:
            yield self.source_losses(source, draws)
        if self.teacher is None:
            return
        pseudo = self.teacher.pseudo_labels(target)
        # the share of confident pixels: all trusted pixels have it as their weight
        self.diagnostics["pseudo_label_weight"] = pseudo.weights.amax().detach()
        if self.target_feature_losses:
            yield self.target_losses(target, pseudo)
        if "mixed" in self.phases:
            yield self.mixed_losses(source, target, pseudo, draws)
        if "masked" in self.phases:
            yield self.masked_losses(source, target, pseudo, draws)

    def source_losses(self, source: DomainBatch, draws: StepDraws) -> Losses:
        """Supervised loss and the losses on the source features (feature distance, CoPT)."""
        output = self.student(source.images, draws.source_box)
        losses = self._segmentation_losses(output, source.labels, None, "source")
        for key, loss in self.feature_losses.items():
            losses[f"loss_source_{key}"] = loss.on_output(output, source.labels)
        return losses

    def target_losses(self, target: DomainBatch, pseudo: PseudoLabels) -> Losses:
        """Feature losses of the clean target images by their pseudo-labels (CoPT, Table 9)."""
        labels = pseudo.labels
        if target.valid is not None:
            labels = labels.masked_fill(target.valid == 0, IGNORE_INDEX)
        added = self.target_feature_losses.values()
        # then neither a decoder nor, with HRDA, the details are run
        alone = all(getattr(loss, "features_suffice", False) for loss in added)
        output = (self.student.encode if alone else self.student)(target.images)
        return {
            f"loss_target_{key}": loss.on_output(output, labels)
            for key, loss in self.target_feature_losses.items()
        }

    def mixed_losses(
        self, source: DomainBatch, target: DomainBatch, pseudo: PseudoLabels, draws: StepDraws
    ) -> Losses:
        """Self-training on ClassMix images (DAFormer): half of the source's classes pasted into the
        target.
        """
        masks = draws.mix_masks
        if masks is None:
            masks = class_mix_masks(source.labels)
        images = mix(masks, source.images, target.images)
        labels = mix(masks, source.labels, pseudo.labels)
        weights = mix(masks, torch.ones_like(pseudo.weights), pseudo.weights)
        images = self._augment(images, draws.mixed_strong, shared=False)
        output = self.student(images, draws.mixed_box)
        return self._segmentation_losses(output, labels, weights, "mixed")

    def masked_losses(
        self, source: DomainBatch, target: DomainBatch, pseudo: PseudoLabels, draws: StepDraws
    ) -> Losses:
        """Masked image consistency (MIC): the labels must follow from the visible patches alone.

        The target's are pseudo-labels with their weights. With both domains, the first half of
        either's images make up the batch (of two images: the first of each).
        """
        parts = {
            "source": (source.images, source.labels, torch.ones_like(pseudo.weights)),
            "target": (target.images, pseudo.labels, pseudo.weights),
        }
        chosen = [parts[domain] for domain in ("source", "target") if domain in self.mask_domains]
        count = -(-len(target.images) // len(chosen))
        images, labels, weights = (
            torch.cat([tensor[:count] for tensor in tensors])
            for tensors in zip(*chosen, strict=True)
        )
        if self.mask_augment:
            images = self._augment(images, draws.masked_strong, shared=True)
        visible = draws.patch_mask
        if visible is None:
            visible = patch_mask(
                images.shape, self.mask_ratio, self.mask_block_size, device=images.device
            )
        output = self.student(images * visible, draws.masked_box)
        losses = self._segmentation_losses(output, labels, weights, "masked")
        return {name: self.mask_weight * loss for name, loss in losses.items()}

    def _segmentation_losses(
        self, output: SegOutput, labels: Tensor, weights: Tensor | None, phase: str
    ) -> Losses:
        """Of the fused logits, and with HRDA also of the detail crop."""
        loss = cross_entropy(output.logits, labels, weights)
        if output.detail_logits is None:
            return {f"loss_{phase}_ce": loss}
        y1, y2, x1, x2 = output.box
        crop = (slice(None), slice(y1, y2), slice(x1, x2))
        detail = cross_entropy(
            output.detail_logits, labels[crop], None if weights is None else weights[crop]
        )
        share = self.detail_loss_weight
        return {f"loss_{phase}_ce": (1 - share) * loss, f"loss_{phase}_ce_detail": share * detail}

    def _augment(self, images: Tensor, draws: list[StrongDraw] | None, *, shared: bool) -> Tensor:
        if draws is None:
            draws = draw_strong(len(images), **self.strong, shared=shared)
        return strong_augment(images, draws, self.preprocessor.mean, self.preprocessor.std)

    # detectron2's interface

    def forward(self, batched_inputs: Any) -> Any:
        """Training: {"source": [dict], "target": [dict]} -> the losses of all phases in one dict.

        Evaluation: [dict] with "image" (3, h, w) uint8 and the stored size "height", "width"
        -> [{"sem_seg": (K, height, width) logits}].
        """
        if not self.training:
            return self.inference(batched_inputs)
        losses: Losses = {}
        for phase in self.training_phases(*self.preprocess(batched_inputs)):
            losses.update(phase)
        return losses

    def preprocess(
        self, batched_inputs: dict[str, list[dict[str, Any]]]
    ) -> tuple[DomainBatch, DomainBatch]:
        """Mapper dicts of both domains -> normalised batches on the model's device."""
        return tuple(self.preprocessor.batch(batched_inputs[d]) for d in ("source", "target"))

    def predict(self, images: Tensor) -> Tensor:
        """Normalised (N, 3, h, w) -> the student's logits (N, K, h, w), averaged over windows."""
        if self.test_window is None:
            return self.student.predict(images)
        return predict_windows(self.student.predict, images, self.test_window, self.test_stride)

    def inference(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """The student's logits at each image's stored size."""
        results = []
        for sample in batched_inputs:
            image = self.preprocessor.normalise(sample["image"].to(self.device)).unsqueeze(0)
            logits, size = self.predict(image)[0], tuple(image.shape[-2:])
            height, width = sample.get("height", size[0]), sample.get("width", size[1])
            results.append({"sem_seg": sem_seg_postprocess(logits, size, height, width)})
        return results


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        found = f"{unknown} unknown" if unknown else "is empty"
        raise InputError(f"MODEL.UDA.{option}: {found}; known: {', '.join(known)}")
