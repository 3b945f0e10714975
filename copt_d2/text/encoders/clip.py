"""CLIP's text tower, as open_clip builds it: the encoder of the CoPT paper (ViT-B/32, OpenAI)."""

import difflib
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from .base import UNREADABLE, EncoderOptions, check_lengths, frozen, one_line
from .weights import Weights, find_weights

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("model.safetensors", "open_clip_pytorch_model.bin"),
)


class ClipEncoder:
    """Text tower of a CLIP model in float32 (the released CoPT: float16), D = 512 for ViT-B-32.

    The feature at the end-of-text token after the last LayerNorm and the projection, not
    normalised. Nothing is loaded before the first prompt, nothing is asked of the network.

    Args:
        model: "ARCHITECTURE[:TAG]" of open_clip; the tag says which weights, by default "openai".
        options: ``weights`` may name a file of tensors that fits the architecture, or a folder with
            ``open_clip_config.json`` that brings its own.
    """

    libraries: tuple[str, ...] = ("open_clip_torch", "torch")

    def __init__(self, model: str, options: EncoderOptions) -> None:
        import open_clip  # takes seconds

        self._architecture, _, tag = model.partition(":")
        self._tag = open_clip.get_pretrained_cfg(self._architecture, tag or "openai")
        self._device = options.one_device
        if options.weights:
            self._weights = find_weights("", options.weights)
        else:
            self._weights = self._cached_weights(tag or "openai")
        self.id = f"open_clip:{self._architecture}:{tag or 'openai'}@{self._weights.revision}"

    def encode(self, prompts: list[str]) -> Tensor:
        """See :class:`TextEncoder`; at most 77 tokens a prompt, start and end included."""
        limit = self._tokenizer.context_length
        check_lengths(prompts, [self._length(prompt) for prompt in prompts], limit, self.id)
        tokens = self._tokenizer(prompts).to(self._device)  # (n, 77)
        with torch.no_grad():
            return self._model.encode_text(tokens).float().cpu()

    def _length(self, prompt: str) -> int:
        if hasattr(self._tokenizer, "encode"):  # CLIP's own: without start and end
            return len(self._tokenizer.encode(prompt)) + 2
        return len(self._tokenizer.tokenizer(prompt)["input_ids"])

    def _cached_weights(self, tag: str) -> Weights:
        import open_clip

        if open_clip.get_model_config(self._architecture) is None:
            known = open_clip.list_models()
            near = difflib.get_close_matches(self._architecture, known, n=3, cutoff=0.3)
            raise InputError(
                f"MODEL.COPT.ENCODER: open_clip has no architecture '{self._architecture}'; "
                f"near: {', '.join(near or known[:3])}"
            )
        if not self._tag.get("hf_hub"):
            tags = open_clip.list_pretrained_tags_by_model(self._architecture)
            raise InputError(
                f"MODEL.COPT.ENCODER: open_clip has no weights '{tag}' of '{self._architecture}' "
                f"on the Hugging Face hub; known: {', '.join(tags) or 'none'}"
            )
        repository = "/".join(self._tag["hf_hub"].split("/")[:2])
        return find_weights(repository, "", only="open_clip*")

    @cached_property
    def _file(self) -> Path:
        """The file of tensors."""
        path = self._weights.path
        if path.is_file():
            return path
        for name in WEIGHT_FILES:
            if (path / name).is_file():
                return path / name
        raise InputError(
            f"{path}: holds none of {', '.join(WEIGHT_FILES)}; see MODEL.COPT.ENCODER_WEIGHTS"
        )

    @property
    def _name(self) -> str:
        """What open_clip calls the model."""
        own_config = (self._weights.path / CONFIG_FILE).is_file()
        # of the hub's folder, architecture and tag say all
        brings_its_own = own_config and self._weights.revision.startswith("sha256:")
        return f"local-dir:{self._weights.path}" if brings_its_own else self._architecture

    @cached_property
    def _tokenizer(self) -> Any:
        import open_clip

        return open_clip.get_tokenizer(self._name)

    @cached_property
    def _model(self) -> torch.nn.Module:
        import open_clip

        own = self._name.startswith("local-dir:")
        if not own and _is_torchscript(self._file):
            raise InputError(
                f"{self._file} is a TorchScript program (OpenAI's own form), not weights alone, "
                "and is not loaded: fetch the same weights as safetensors with `hf download "
                "timm/vit_base_patch32_clip_224.openai --include 'open_clip*'`"
            )
        try:
            model = open_clip.create_model(
                self._name,
                pretrained=None if own else str(self._file),
                precision="fp32",
                device=self._device,
                force_quick_gelu=not own and self._tag.get("quick_gelu", False),
                require_pretrained=True,
            )
        except UNREADABLE as error:
            raise InputError(
                f"{self._file}: cannot be read as open_clip's '{self._architecture}' "
                f"({one_line(error)}); see MODEL.COPT.ENCODER and ENCODER_WEIGHTS"
            ) from error
        return frozen(model, self._file)


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
