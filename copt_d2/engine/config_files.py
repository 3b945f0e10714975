"""Reads config files as data, and says what is wrong with them in one line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from ..config import add_copt_config
from ..errors import InputError

UNKNOWN_KEY = re.compile(r"Non-existent (?:config )?key: ([\w.]+)")


def _known_keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, CfgNode):
            yield from _known_keys(value, f"{prefix}{key}.")


def _explain(cfg: CfgNode, error: Exception, where: str) -> InputError:
    """detectron2's message in one line, with the nearest known key if a key was unknown."""
    message = " ".join(str(error).strip("\"'").split())
    unknown = UNKNOWN_KEY.search(message)
    if unknown:
        near = difflib.get_close_matches(unknown.group(1), list(_known_keys(cfg)), n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        message = f"Non-existent config key: {unknown.group(1)}{hint}"
    return InputError(f"{where}: {message}")


def load_config(file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The config that a YAML file and KEY VALUE overrides describe; without a GPU, MODEL.DEVICE
    becomes "cpu".

    Args:
        file: YAML, perhaps with ``_BASE_``; only plain YAML types are read.
        overrides: KEY VALUE pairs in one list.
    Raises:
        InputError: for a missing file, unsafe or broken YAML, an unknown key or a value of another
            type.
    """
    cfg = get_cfg()
    add_copt_config(cfg)
    if not Path(file).is_file():
        raise InputError(f"no such config file: {file}")
    try:
        cfg.merge_from_file(file, allow_unsafe=False)
    except yaml.constructor.ConstructorError as error:
        raise InputError(
            f"{file}: a config is data, this YAML tag is not allowed: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise InputError(f"{file}: its _BASE_ cannot be read: {error}") from error
    except (KeyError, ValueError, AssertionError) as error:
        raise _explain(cfg, error, file) from error
    if len(overrides) % 2:
        raise InputError(f"overrides are KEY VALUE pairs, {overrides[-1]!r} has no value")
    try:
        cfg.merge_from_list(list(overrides))
    except (KeyError, ValueError, AssertionError) as error:
        raise _explain(cfg, error, "command line") from error
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    return cfg
