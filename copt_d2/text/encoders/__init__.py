"""Text encoders behind one small interface."""

from ...errors import InputError
from .base import EncoderOptions, TextEncoder
from .causal_lm import CausalLMEncoder
from .clip import ClipEncoder
from .sentence import MiniLMEncoder, SentenceEncoder

__all__ = [
    "CausalLMEncoder",
    "ClipEncoder",
    "EncoderOptions",
    "MiniLMEncoder",
    "SentenceEncoder",
    "TextEncoder",
    "build_encoder",
]

FAMILIES = {
    "open_clip": ClipEncoder,
    "sentence_transformers": SentenceEncoder,
    "hf": CausalLMEncoder,
}


def build_encoder(name: str, options: EncoderOptions | None = None) -> TextEncoder:
    """The encoder that ``MODEL.COPT.ENCODER`` names; weights are loaded at its first use.

    Args:
        name: "minilm", or one of a family: "open_clip:ARCHITECTURE[:TAG]",
            "sentence_transformers:MODEL", "hf:MODEL", where MODEL is a name on the Hugging Face
            hub, perhaps with "@REVISION".
        options: where the weights are and how they are used.
    Raises:
        InputError: for an unknown name (with the known ones), or if the encoder is not installed or
            its weights are not on this machine.
    """
    options = options or EncoderOptions()
    if name == "minilm":
        if options.weights:
            raise InputError(
                f"MODEL.COPT.ENCODER_WEIGHTS is '{options.weights}', but the encoder 'minilm' has "
                "its own: leave it empty, or name another MODEL.COPT.ENCODER"
            )
        return MiniLMEncoder(options)
    family, _, model = name.partition(":")
    if family not in FAMILIES or not model:
        raise InputError(
            f"MODEL.COPT.ENCODER: unknown text encoder '{name}'; known: minilm, "
            "open_clip:ViT-B-32 (or another of its architectures, with :TAG), "
            "sentence_transformers:MODEL, hf:MODEL"
        )
    return FAMILIES[family](model, options)
