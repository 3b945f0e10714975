"""Where the weights of an encoder are: a path, or the Hugging Face cache. Never the network."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

OTHER_WAYS = (
    "or give a path with MODEL.COPT.ENCODER_WEIGHTS; MODEL.COPT.ENCODER minilm needs no download"
)
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".txt")


@dataclass(frozen=True)
class Weights:
    """Found weights.

    Attributes:
        path: folder, or a file of tensors.
        revision: the hub's commit, or "sha256:" with the first 16 digits of a hash of the content.
    """

    path: Path
    revision: str


def find_weights(
    model: str,
    local: str,
    *,
    only: str = "",
    key: str = "MODEL.COPT.ENCODER",
    instead: str = OTHER_WAYS,
) -> Weights:
    """The weights of a model of the Hugging Face hub on this machine.

    Args:
        model: its name there, perhaps with "@REVISION".
        local: path to use instead of the cache; "" = the cache.
        only: pattern of the files that are needed, for the message; "" = all.
        key: config key or flag that names the model, for the message.
        instead: what else the user can do, for the message.
    Raises:
        InputError: if nothing is there; says which command downloads it.
    """
    if local:
        path = Path(local).expanduser()
        if not path.exists():
            raise InputError(f"{key}_WEIGHTS: no file or folder {local}")
        return Weights(path, f"sha256:{content_hash(path)}")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except HFValidationError as error:
        raise InputError(f"{key}: '{name}' is no name of a Hugging Face model") from error
    except LocalEntryNotFoundError as error:
        command = f"hf download {name}"
        command += f" --revision {revision}" if revision else ""
        command += f" --include '{only}'" if only else ""
        raise InputError(
            f"{key}: the weights of '{model}' are not in the Hugging Face cache "
            f"{constants.HF_HUB_CACHE}: run `{command}` once, {instead}"
        ) from error
    return Weights(folder, folder.name)


def content_hash(path: Path) -> str:
    """First 16 hexadecimal digits of SHA-256 over a file, or over the files of a model's folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        if file.is_file() and (file == path or file.suffix in WEIGHT_FILES):
            name = "" if file == path else file.relative_to(path).as_posix()
            with open(file, "rb") as stream:
                digest.update(
                    f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}".encode()
                )
    return digest.hexdigest()[:16]
