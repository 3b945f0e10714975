"""Which file a name stands for: a run's folder, a file, an id on the Hugging Face hub."""

import os
import re
from pathlib import Path

from ..engine.checkpointing import FINAL_NETWORK, NAME, TrainingCheckpointer
from ..engine.network_file import steps_of
from ..errors import InputError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = ("model.safetensors", FINAL_NETWORK)  # the first is that of `copt share`
HUB_SECONDS = 10
SUFFIXES = (".pth", ".pt", ".safetensors")
RUNS_CODE = (".pt2", ".torchscript", ".ts", ".jit")
SHARED = ("model.safetensors", FINAL_NETWORK)


def weights_file(source: str | os.PathLike[str], part: str = "student") -> Path:
    """The file of weights that a source names.

    Args:
        source: a run's folder (its newest checkpoint), a .pth or .safetensors file, or an id such
            as "name/model", whose .safetensors file is taken from the cache or the hub.
        part: "student", or "teacher", which only training checkpoints have.
    Raises:
        InputError: if there is none, or loading it could run code.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"a model is named by a path or a Hugging Face id, not by a {type(source).__name__}"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path, part)
    if path.is_file():
        return _checked(path)
    if HUB_ID.fullmatch(str(source)) and path.suffix not in (*SUFFIXES, *RUNS_CODE, ".onnx"):
        return _of_hub(str(source))
    raise InputError(
        f"no such model: {source}; give the folder of a run, a .pth or .safetensors file, or a "
        "Hugging Face id such as name/model"
    )


def _checked(path: Path) -> Path:
    if path.suffix.lower() in RUNS_CODE:
        raise InputError(
            f"{path}: to load a {path.suffix} file can run code that is in it; give the .pth or "
            ".safetensors file that it was made of"
        )
    if path.suffix.lower() == ".onnx":  # here a session of onnxruntime comes in
        raise InputError(
            f"{path}: this version cannot run ONNX files; give the .pth or .safetensors file that "
            "it was made of"
        )
    return path


def _in_folder(folder: Path, part: str) -> Path:
    """The newest checkpoint; of a finished run the small file of the student, if that is wanted."""
    files = [file for file in TrainingCheckpointer(str(folder)).files() if file.is_file()]
    final, network = folder / "model_final.pth", folder / FINAL_NETWORK
    if not files:
        found = [file for file in (final, *(folder / name for name in SHARED)) if file.is_file()]
        if found:
            return found[0]
        inside = sorted(path.parent.name for path in folder.glob(f"*/{final.name}"))
        hint = f"; its runs are {', '.join(inside)}: name one" if inside else ""
        raise InputError(
            f"{folder} holds no checkpoint (model_<iteration>.pth, {final.name} or "
            f"{FINAL_NETWORK}){hint or ': train first, or give another folder'}"
        )
    # the same step of the same run: earlier runs are set aside
    if (
        part == "student"
        and network.is_file()
        and steps_of(network) == int(NAME.fullmatch(files[0].name)[1])
    ):
        return network
    return files[0]


def _of_hub(name: str) -> Path:
    import huggingface_hub

    for file in HUB_FILES:
        cached = huggingface_hub.try_to_load_from_cache(name, file)
        if isinstance(cached, str):
            return Path(cached)
    try:
        # asks once, where a download would try for minutes without a network
        there = huggingface_hub.HfApi().model_info(name, timeout=HUB_SECONDS).siblings or ()
        names = [sibling.rfilename for sibling in there]
        file = next((file for file in HUB_FILES if file in names), None)
        if file is not None:
            return Path(huggingface_hub.hf_hub_download(name, file))
        reason = f"it has no {' and no '.join(HUB_FILES)}"
    except Exception as error:  # of the hub, of its connection, of the disk: many kinds
        reason = " ".join(str(error).split())[:160] or type(error).__name__
    raise InputError(
        f"no such folder or file: {name}; as a Hugging Face id it is not in the cache, and it "
        f"cannot be downloaded ({reason})"
    )
