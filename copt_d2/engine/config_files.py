"""Reads config files as data, and says what is wrong with them in one line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from ..config import add_copt_config
from ..errors import InputError
from .config_values import check_values

UNKNOWN_KEY = re.compile(r"Non-existent (?:config )?key: ([\w.]+)")
# keys that may change between two parts of a run without changing its weights
FREE = (
    *("OUTPUT_DIR", "TEST.", "DATASETS.TEST", "INPUT.TEST_RESIZE", "DATALOADER.NUM_WORKERS"),
    *("SOLVER.CHECKPOINT_PERIOD", "SOLVER.LOG_PERIOD", "SOLVER.IMAGE_PERIOD"),
    *(
        "MODEL.DEVICE",
        "MODEL.WEIGHTS",
        "MODEL.WEIGHTS_PART",
        "MODEL.COPT.TEXT_BANK",
        "MODEL.TIMM.WEIGHTS",
    ),
    *("MODEL.COPT.ENCODER_WEIGHTS", "MODEL.COPT.ENCODER_DEVICE"),
)
# what detectron2, fvcore and yacs raise on keys and values that do not fit, in their words
MISFITS = (KeyError, ValueError, AssertionError, TypeError, AttributeError)


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


def _merge_file(cfg: CfgNode, file: str) -> None:
    """Adds a YAML file and its bases to ``cfg``; only plain YAML types are read."""
    try:
        cfg.merge_from_file(file, allow_unsafe=False)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else file
        raise InputError(
            f"{where}: a config is data, this YAML tag is not allowed: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise InputError(f"{file}: its _BASE_ cannot be read: {error}") from error
    except RecursionError as error:
        raise InputError(f"{file}: its _BASE_ leads back to itself") from error
    except (TypeError, AttributeError) as error:
        raise InputError(f"{file} or a _BASE_ of it is not a table of config keys") from error
    except MISFITS as error:
        raise _explain(cfg, error, file) from error


def _merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Adds KEY VALUE pairs to ``cfg``, one by one, so that a message names its key."""
    if len(overrides) % 2:
        raise InputError(f"overrides are KEY VALUE pairs, {overrides[-1]!r} has no value")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        try:
            cfg.merge_from_list([key, value])
        except MISFITS as error:
            if isinstance(error, (TypeError, AttributeError)):  # a key below a value
                error = KeyError(f"Non-existent key: {key}")
            raise _explain(cfg, error, f"command line, {key}") from error


def _check_device(cfg: CfgNode) -> None:
    """Sets MODEL.DEVICE "cuda" to "cpu" on a machine without a GPU."""
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    try:
        torch.empty(0, device=cfg.MODEL.DEVICE)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"MODEL.DEVICE {cfg.MODEL.DEVICE!r} cannot be used: {reason}") from error


def config_changes(earlier: str, cfg: CfgNode) -> list[str]:
    """Keys whose value decides what a training does and has changed, as "KEY old -> new"; keys that
    there were not yet do not count.

    Args:
        earlier: the YAML text of the earlier config.
        cfg: the config now.
    """
    before, now = (dict(dotted_values(yaml.safe_load(text))) for text in (earlier, cfg.dump()))
    both = [key for key in now if key in before and not key.startswith(FREE)]
    return [f"{key} {before[key]} -> {now[key]}" for key in both if before[key] != now[key]]


def chosen_values(cfg: CfgNode) -> dict[str, Any]:
    """What a config sets: key -> value where it differs from the default."""
    defaults = get_cfg()
    add_copt_config(defaults)
    known = dict(dotted_values(yaml.safe_load(defaults.dump())))
    now = dotted_values(yaml.safe_load(cfg.dump()))
    return {key: value for key, value in now if value != known.get(key)}


def dotted_values(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a config as nested dicts, as ("MODEL.UDA.PHASES", value)."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from dotted_values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load_config(file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The config that a YAML file and KEY VALUE overrides describe; without a GPU, MODEL.DEVICE
    becomes "cpu".

    Args:
        file: YAML, perhaps with ``_BASE_``; only plain YAML types are read.
        overrides: KEY VALUE pairs in one list.
    Raises:
        InputError: for a missing file, unsafe or broken YAML, an unknown key, a value of another
            type, or a device that is not there.
    """
    cfg = get_cfg()
    add_copt_config(cfg)
    if not file:
        raise InputError("--config-file is missing: name a YAML file, such as those in configs/")
    if not Path(file).is_file():
        raise InputError(f"no such config file: {file}")
    _merge_file(cfg, file)
    _merge_overrides(cfg, overrides)
    check_values(cfg)
    _check_device(cfg)
    return cfg
