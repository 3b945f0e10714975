"""Causal language models as text encoders: Mistral-7B of the CoPT paper's Table 8."""

from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from .base import UNREADABLE, EncoderOptions, check_lengths, frozen, one_line
from .weights import find_weights


class CausalLMEncoder:
    """Hidden states of a causal language model after its last normalisation (D = 4096, Mistral-7B).

    Pooled as ``options.pooling`` says: the last token, which has seen the whole prompt, or the mean
    over all tokens, the tokenizer's start token included. The paper does not say which it used.
    Nothing is loaded before the first prompt, nothing is asked of the network.

    Args:
        model: name on the Hugging Face hub, perhaps with "@REVISION".
        options: ``weights`` may name a folder in the form of such a model.
    """

    libraries: tuple[str, ...] = ("transformers", "tokenizers", "torch")

    def __init__(self, model: str, options: EncoderOptions) -> None:
        self._options = options
        if options.device == "auto" and find_spec("accelerate") is None:
            raise InputError(
                "MODEL.COPT.ENCODER_DEVICE auto needs accelerate: pip install accelerate"
            )
        self._weights = find_weights(model, options.weights)
        pooled = {"last": "last token", "mean": "mean of tokens"}[options.pooling]
        name = f"hf:{model.partition('@')[0]}@{self._weights.revision}"
        self.id = f"{name}, {pooled}, {options.dtype}"

    def encode(self, prompts: list[str]) -> Tensor:
        """See :class:`TextEncoder`."""
        rows = self._tokenizer(prompts)["input_ids"]
        lengths = [len(row) for row in rows]
        limit = getattr(self._model.config, "max_position_embeddings", None)
        check_lengths(prompts, lengths, limit, self.id)
        longest = max(lengths)
        # padded on the right with any token: no token of a causal model sees what follows it
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        count = torch.tensor(lengths)[:, None]  # (n, 1)
        mask = torch.arange(longest) < count  # (n, longest)
        device = self._model.get_input_embeddings().weight.device
        with torch.no_grad():
            output = self._model(tokens.to(device), attention_mask=mask.long().to(device))
        states = output.last_hidden_state.float().cpu()  # (n, longest, D)
        if self._options.pooling == "last":
            return states[torch.arange(len(rows)), count[:, 0] - 1]
        # not 0 · state: padding may be infinite in float16
        return states.masked_fill(~mask[..., None], 0.0).sum(dim=1) / count

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return self._load(AutoTokenizer)

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModel

        device = self._options.device
        kinds = {"dtype": getattr(torch, self._options.dtype)}
        if device == "auto":
            return frozen(self._load(AutoModel, device_map="auto", **kinds), self._weights.path)
        return frozen(self._load(AutoModel, **kinds).to(device), self._weights.path)

    def _load(self, kind: Any, **arguments: Any) -> Any:
        try:
            return kind.from_pretrained(self._weights.path, local_files_only=True, **arguments)
        except UNREADABLE as error:
            raise InputError(
                f"{self._weights.path}: cannot be read as a Hugging Face language model "
                f"({one_line(error)}); see MODEL.COPT.ENCODER and ENCODER_WEIGHTS"
            ) from error
