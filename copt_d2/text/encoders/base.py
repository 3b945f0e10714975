"""What a text bank needs of an encoder, and what encoders share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ...errors import InputError

POOLINGS = ("last", "mean")
DTYPES = ("float32", "bfloat16", "float16")
# what the libraries raise on files that are no model of theirs
UNREADABLE = (
    *(OSError, EOFError, UnpicklingError, SafetensorError),
    *(ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, AssertionError),
)


class TextEncoder(Protocol):
    """What the making of a text bank needs of an encoder.

    Attributes:
        id: name and revision of encoder and weights; another id means other embeddings.
        libraries: installed packages whose versions are noted in the bank file.
    """

    id: str
    libraries: tuple[str, ...]

    def encode(self, prompts: list[str]) -> Tensor:
        """Embeddings (n, D) float32 on the CPU of n prompts, without gradient, not normalised.

        Raises:
            InputError: if a prompt is longer than the encoder can read, or if weights are absent.
        """
        ...


@dataclass(frozen=True)
class EncoderOptions:
    """Where weights are and how they are used (``MODEL.COPT.ENCODER_*``).

    Attributes:
        weights: local folder or file; "" = the Hugging Face cache.
        pooling: "last" or "mean" over the tokens of a causal language model; others have their own.
        dtype: of a causal language model's weights; the others run in float32.
        device: "cpu", "cuda", "cuda:1"; "auto" spreads a causal language model over all devices.
    """

    weights: str = ""
    pooling: str = "last"
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for key, choices in (("pooling", POOLINGS), ("dtype", DTYPES)):
            if getattr(self, key) not in choices:
                raise InputError(
                    f"MODEL.COPT.ENCODER_{key.upper()} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, key)!r}"
                )
        if self.device != "auto":
            try:
                torch.empty(0, device=self.device)
            except (RuntimeError, AssertionError) as error:
                raise InputError(
                    f"MODEL.COPT.ENCODER_DEVICE {self.device!r} cannot be used: {one_line(error)}"
                ) from error

    @property
    def one_device(self) -> str:
        """The device of an encoder that cannot be spread: "auto" = the first GPU or the CPU."""
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"


def check_lengths(
    prompts: Sequence[str], lengths: Sequence[int], limit: int | None, encoder: str
) -> None:
    """Refuses a prompt of which the encoder would read a part only.

    Args:
        prompts: n texts.
        lengths: n numbers of tokens, start and end tokens included.
        limit: tokens that the encoder reads; ``None`` = any number.
        encoder: its id.
    Raises:
        InputError: names the first prompt that is too long.
    """
    for prompt, length in zip(prompts, lengths, strict=True):
        if limit is not None and length > limit:
            raise InputError(
                f"the prompt '{prompt[:60]}...' has {length} tokens, {encoder} reads {limit}; "
                "shorten the template or the class name"
            )


def frozen(model: nn.Module, source: str | Path) -> nn.Module:
    """A loaded encoder, ready to encode.

    Args:
        model: weights that lie elsewhere until they are used (device meta) are not looked at.
        source: its file or folder, for the message.
    Raises:
        InputError: naming the first tensor that holds NaN or infinity.
    """
    for name, value in model.named_parameters():
        # 8-bit floats know no infinity, and torch no `isfinite` of them
        if not value.is_floating_point() or value.element_size() == 1 or value.is_meta:
            continue
        if not value.isfinite().all():
            raise InputError(
                f"{source}: {name} holds NaN or infinity; see MODEL.COPT.ENCODER and "
                "ENCODER_WEIGHTS"
            )
    return model.eval().requires_grad_(False)


def one_line(error: Exception) -> str:
    """A library's message without its line breaks, cut where it becomes long."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
