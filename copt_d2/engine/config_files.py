"""Reads config files as data, and says what is wrong with them in one line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from ..config import add_copt_config
from ..errors import InputError
from .config_keys import check_keys, dotted_values, keys_with_effect
from .config_names import find_config, other_kind
from .config_values import TABLE, check_values, shown, value_of
from .own_data import adopt_description, looks_like_description

MISMATCH = re.compile(
    r"Type mismatch \(<class '(?:[\w.]+\.)?(?P<was>\w+)'> vs. <class '(?:[\w.]+\.)?(?P<now>\w+)'>\)"
    r".* for config key: (?P<key>[\w.]+)$"
)
UNKNOWN_KEY = re.compile(r"Non-existent (?:config )?key: ([\w.]+)")
# keys that may change between two parts of a run without changing its weights
FREE = (
    *("OUTPUT_DIR", "TEST.", "DATASETS.TEST", "DATASETS.FILE", "INPUT.TEST_RESIZE"),
    "DATALOADER.NUM_WORKERS",
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
RESIZES = ("SOURCE_RESIZE", "TARGET_RESIZE", "TEST_RESIZE")  # of INPUT; one number = short side
YAML_TYPES = (str, int, float, bool, list, dict, NoneType)  # that a config can hold


def _sections(key: str) -> Iterator[str]:
    """A dotted key and all tables that it lies in."""
    parts = key.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _explain_mismatch(cfg: CfgNode, error: Exception, found: re.Match[str]) -> str:
    """yacs' words on a value of another type, without what it prints of the old one."""
    was, now, key = (found[name] for name in ("was", "now", "key"))
    old = value_of(cfg, key)
    value = str(error).partition(f"({old} vs. ")[2].rpartition(") for config key")[0]
    if isinstance(old, CfgNode):
        needed = "a table of keys"
    else:
        needed = TABLE[key].words if key in TABLE else f"like {shown(old)}"
    if (was, now) == ("float", "int"):
        needed += f", written with a point: {value}.0"
    if now == "str" and was in ("list", "tuple") and value[:1] in ("[", "("):
        needed += "; on a command line its texts need quotes: \"['a', 'b']\""
    return f"Type mismatch ({was} vs. {now}): {key} is {shown(value)[1:-1]}; it must be {needed}"


def _explain(cfg: CfgNode, error: Exception, where: str) -> InputError:
    """detectron2's message in one line, with the nearest known key if a key was unknown."""
    message = " ".join(str(error).strip("\"'").split())
    unknown, mismatch = UNKNOWN_KEY.search(message), MISMATCH.search(message)
    if unknown:
        known = {name for key in keys_with_effect(cfg) for name in _sections(key)}
        near = difflib.get_close_matches(unknown.group(1), sorted(known), n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        message = f"Non-existent config key: {unknown.group(1)}{hint}"
    elif mismatch:
        message = _explain_mismatch(cfg, error, mismatch)
    return InputError(f"{where}: {message}")


def _check_tables(loaded: dict[Any, Any], known: CfgNode, where: str, prefix: str = "") -> None:
    """Tables where tables are needed, and elsewhere types that a config can hold."""
    for key, value in loaded.items():
        name = f"{prefix}{key}"
        if not isinstance(key, str):
            raise InputError(f"{where}: the key {prefix}{shown(key)} is no text")
        if isinstance(known.get(key), CfgNode):
            if not isinstance(value, dict):
                raise InputError(f"{where}: {name} is {shown(value)}; it must be a table of keys")
            _check_tables(value, known[key], where, f"{name}.")
        elif not isinstance(value, YAML_TYPES) and name in TABLE:
            words = TABLE[name].words
            raise InputError(f"{where}: {name} is {shown(value)}; it must be {words}")


def _load_file(cfg: CfgNode, file: str) -> CfgNode:
    """A YAML file and its bases as one table of the keys that ``cfg`` has."""
    loaded = CfgNode.load_yaml_with_base(file, allow_unsafe=False)
    if looks_like_description(loaded):
        raise InputError(other_kind(file, "descriptions"))
    if isinstance(loaded.get("INPUT"), dict):
        for key in RESIZES:
            if type(loaded["INPUT"].get(key)) is int:
                loaded["INPUT"][key] = [loaded["INPUT"][key]]
    _check_tables(loaded, cfg, file)
    version = loaded.get("VERSION", cfg.VERSION)
    if version != cfg.VERSION:
        raise InputError(f"{file}: VERSION is {shown(version)}; this detectron2 has {cfg.VERSION}")
    return CfgNode(loaded)


def _merge_file(cfg: CfgNode, file: str) -> list[str]:
    """Adds a YAML file and its bases to ``cfg``; only plain YAML types are read. Returns the keys
    that they set.
    """
    try:
        loaded = _load_file(cfg, file)
        cfg.merge_from_other_cfg(loaded)
    except InputError:
        raise
    except yaml.YAMLError as error:
        raise _explain_yaml(error, file) from error
    except OSError as error:
        raise InputError(f"{file}: its _BASE_ cannot be read: {error}") from error
    except RecursionError as error:
        raise InputError(f"{file}: its _BASE_ leads back to itself") from error
    except (TypeError, AttributeError) as error:
        raise InputError(f"{file} or a _BASE_ of it is not a table of config keys") from error
    except MISFITS as error:
        raise _explain(cfg, error, file) from error
    for part in _files(file):
        _check_double_keys(part)
    return [key for key, _ in dotted_values(loaded)]


def _explain_yaml(error: yaml.YAMLError, file: str) -> InputError:
    """What is wrong with a YAML text, with its file and line where those are known."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark else file
    if isinstance(error, yaml.constructor.ConstructorError) and "constructor" in str(problem):
        return InputError(f"{where}: a config is data, this YAML tag is not allowed: {problem}")
    return InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}")


def _files(file: str) -> Iterator[str]:
    """A config file and all on this machine that it builds on."""
    yield file
    bases = yaml.safe_load(Path(file).read_text()).get("_BASE_", [])
    for base in [bases] if isinstance(bases, str) else bases:
        if base.startswith(("http://", "https://")):
            continue
        yield from _files(str(Path(file).parent / Path(base).expanduser()))


def _check_double_keys(file: str) -> None:
    """YAML takes the last of two equal keys, and the whole table of the first is lost."""
    tables = [yaml.compose(Path(file).read_text(), Loader=yaml.SafeLoader)]
    while tables:
        entries = tables.pop().value
        found = set()
        for key, value in entries:
            if key.value in found:
                line = key.start_mark.line + 1
                raise InputError(f"{file}, line {line}: {key.value} stands twice; join them")
            found.add(key.value)
            if isinstance(value, yaml.MappingNode):
                tables.append(value)


def _merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Adds KEY VALUE pairs to ``cfg``, one by one, so that a message names its key."""
    if len(overrides) % 2:
        raise InputError(f"overrides are KEY VALUE pairs, {overrides[-1]!r} has no value")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        try:
            cfg.merge_from_list([key, _as_box(key, value)])
        except (MemoryError, RecursionError) as error:  # of Python's parser
            raise InputError(f"command line, {key}: {shown(value)} is no value") from error
        except MISFITS as error:
            if isinstance(error, (TypeError, AttributeError)):  # a key below a value
                error = KeyError(f"Non-existent key: {key}")
            raise _explain(cfg, error, f"command line, {key}") from error


def _as_box(key: str, value: str) -> str:
    is_number = str(value).strip().isascii() and str(value).strip().isdigit()
    return f"({value},)" if is_number and key in [f"INPUT.{name}" for name in RESIZES] else value


def _check_device(cfg: CfgNode) -> None:
    """Sets MODEL.DEVICE "cuda" to "cpu" on a machine without a GPU."""
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    try:
        torch.zeros(1, device=cfg.MODEL.DEVICE).item()  # which "meta" cannot
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"MODEL.DEVICE {cfg.MODEL.DEVICE!r} cannot be used: {reason}") from error


def stored_config(text: Any, owner: str) -> CfgNode:
    """The config that a checkpoint holds, as far as it says how images are read and predicted.

    Keys that this version does not have are passed over, those that the file lacks have their
    defaults. Nothing of it trains, and no file of pretrained weights is read.

    Args:
        text: YAML.
        owner: names the file, for messages.
    Raises:
        InputError: if it is no config, or a value cannot be.
    """
    cfg = get_cfg()
    add_copt_config(cfg)
    try:
        loaded = yaml.safe_load(text)
        for section in ("MODEL", "INPUT", "TEST"):
            _take_known(cfg[section], loaded.get(section, {}))
        for key in ("TRAIN", "TARGET", "TEST"):
            cfg.DATASETS[key] = tuple(loaded.get("DATASETS", {}).get(key, ()))
        cfg.TEST.EXPECTED_RESULTS, cfg.TEST.EXPORT = [], ()
        student_only(cfg)
        cfg.MODEL.WEIGHTS = ""
        check_values(cfg)
    except InputError as error:
        raise InputError(f"the config in {owner}: {error}") from error
    except (yaml.YAMLError, *MISFITS) as error:
        raise InputError(f"the config in {owner} cannot be read: restore the file") from error
    return cfg


def _take_known(node: CfgNode, loaded: dict[str, Any]) -> None:
    for key, value in loaded.items():
        if isinstance(node.get(key), CfgNode):
            _take_known(node[key], value)
        elif key in node:
            node.merge_from_list([key, value])


def student_only(cfg: CfgNode) -> None:
    """Changes a config so that the model built of it is the student, without a teacher, losses or
    a file of the encoder, which its own weights hold.
    """
    cfg.MODEL.UDA.FEATURE_LOSSES = cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ()
    cfg.MODEL.MIT.WEIGHTS = ""
    cfg.MODEL.UDA.PHASES = ("source",)


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


def load_config(file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The config that a YAML file and KEY VALUE overrides describe; without a GPU, MODEL.DEVICE
    becomes "cpu". With DATASETS.FILE the data sets of that description are registered, and what it
    says is filled in. Of several processes all must call it then.

    Args:
        file: YAML, perhaps with ``_BASE_``, of which only plain YAML types are read; or the name of
            a config that comes with the package (`find_config`).
        overrides: KEY VALUE pairs in one list.
    Raises:
        InputError: for a missing file, unsafe or broken YAML, an unknown key, a value of another
            type, a device that is not there, or a data description that does not fit.
    """
    cfg = get_cfg()
    add_copt_config(cfg)
    file = find_config(file)
    chosen = dict.fromkeys(_merge_file(cfg, file), file)
    _merge_overrides(cfg, overrides)
    chosen.update(dict.fromkeys(overrides[::2], "command line"))
    check_keys(cfg)
    check_values(cfg)
    adopt_description(cfg, chosen)
    _check_device(cfg)
    return cfg
