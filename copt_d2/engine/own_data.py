"""What a data description (DATASETS.FILE) says, in a config.

It fills the keys that neither a YAML file nor the command line has set, and refuses what
contradicts it. Everything behind reads the config alone, as with built-in data sets.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from ..data.description import (
    Description,
    Registered,
    description_of,
    read_description,
    register_all_of,
)
from ..data.parallel import on_first_process
from ..errors import InputError
from ..text.templates import HAND_CRAFTED, MARK, load_template_lists
from .config_values import shown, value_of
from .own_data_sizes import fit_sizes

logger = logging.getLogger("copt_d2.own_data")
ROLE_OF = {
    "DATASETS.TRAIN": "source",
    "DATASETS.TARGET": "target",
    "DATASETS.TARGET_LABELED": "target_labeled",
    "DATASETS.TEST": "val",
}
NO_WORDS = "photo"  # of a domain of which a description says nothing: "a photo of a CLASS"


def looks_like_description(table: Mapping[str, Any]) -> bool:
    """Whether what a YAML file holds is a data description, not a config."""
    return bool({"classes", "source", "target", "val"} & set(table))


def adopt_description(cfg: CfgNode, chosen: Mapping[str, str]) -> None:
    """Registers the data sets of DATASETS.FILE and fills in what it says.

    Of several processes the first one converts the labels; all must call it.

    Args:
        cfg: the merged config, changed in place; nothing happens if DATASETS.FILE is empty.
        chosen: keys that files and the command line have set -> which of them did.
    Raises:
        InputError: on every process, for a description that does not fit, or a key that
            contradicts it.
    """
    if not cfg.DATASETS.FILE:
        if cfg.DATASETS.FILE_CONTENT:
            raise InputError(
                "DATASETS.FILE_CONTENT is set, but DATASETS.FILE is empty: name the description, "
                "whose text is then filled in"
            )
        return
    description = _description(cfg)
    registered = _register(description)
    _fill_data_sets(cfg, chosen, registered)
    _fill_classes(cfg, chosen, description)
    _fill_text(cfg, chosen, description)
    if "OUTPUT_DIR" not in chosen:
        cfg.OUTPUT_DIR = os.path.join("output", description.name)
    cfg.DATASETS.FILE = str(description.path)
    cfg.DATASETS.FILE_CONTENT = description.content
    _leave_out_feature_distance(cfg, description)
    fit_sizes(cfg, chosen)


def _description(cfg: CfgNode) -> Description:
    """Of the file; if it is not there any more, of the text that a run has kept."""
    path = Path(os.path.abspath(Path(cfg.DATASETS.FILE).expanduser()))
    if cfg.DATASETS.FILE_CONTENT and not path.is_file():
        logger.info("%s is not there any more: its text in the config counts", path)
        return description_of(path, cfg.DATASETS.FILE_CONTENT)
    return read_description(path)


def _register(description: Description) -> Registered:
    found: list[Registered] = []
    on_first_process(lambda: found.append(register_all_of(description)))
    return found[0] if found else register_all_of(description)  # what is converted already


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _fill(
    cfg: CfgNode, chosen: Mapping[str, str], key: str, value: Any, description: Description
) -> None:
    """Sets a key that nobody has set; refuses another value."""
    given = value_of(cfg, key)
    if key in chosen and _plain(given) != _plain(value):
        raise InputError(
            f"{chosen[key]}: {key} is {shown(given)}, but {description.path} says {shown(value)}: "
            "remove the key, or change the description"
        )
    table, _, name = key.rpartition(".")
    value_of(cfg, table)[name] = type(given)(value) if isinstance(given, (list, tuple)) else value


def _fill_data_sets(cfg: CfgNode, chosen: Mapping[str, str], registered: Registered) -> None:
    """Data sets may be chosen by name among those of the description; an empty list is a choice,
    too.
    """
    members, path = registered.members, registered.description.path
    unions = {registered.names[role]: members[role] for role in members}
    known = {name: (name,) for role in members for name in members[role]} | unions
    for key, role in ROLE_OF.items():
        table, _, name = key.rpartition(".")
        if key not in chosen:
            value_of(cfg, table)[name] = members.get(role, ())
            continue
        given = value_of(cfg, key)
        foreign = [one for one in given if one not in known]
        if foreign:
            raise InputError(
                f"{chosen[key]}: {key} is {shown(given)}, but {path} has "
                f"{', '.join(sorted(known))}: remove the key, or name some of these"
            )
        # the members of a role have tables of their own
        value_of(cfg, table)[name] = tuple(dict.fromkeys(m for one in given for m in known[one]))
    share = registered.description.share
    if share is not None:
        _fill(cfg, chosen, "DATASETS.TARGET_LABELED_SHARE", share, registered.description)
    if not cfg.DATASETS.TEST:
        logger.info("%s has no val: the training runs, and nothing is scored", path)


def _fill_classes(cfg: CfgNode, chosen: Mapping[str, str], description: Description) -> None:
    words: list[str | list[str]] = []
    owner: dict[str, str] = {}
    for entry in description.classes:
        own = list(dict.fromkeys(entry.words))
        for word in own:
            if owner.setdefault(word, entry.name) != entry.name:
                raise InputError(
                    f"{description.path}: the word {word!r} stands for {owner[word]!r} and for "
                    f"{entry.name!r}: give each class words of its own"
                )
        words.append(own[0] if len(own) == 1 else own)
    count = "MODEL.SEM_SEG_HEAD.NUM_CLASSES"
    _fill(cfg, chosen, count, len(description.classes), description)
    _fill(cfg, chosen, "MODEL.COPT.CLASS_NAMES", words, description)


def _fill_text(cfg: CfgNode, chosen: Mapping[str, str], description: Description) -> None:
    """The templates, and the domains: names of lists stay, other words are marked as such."""
    if description.templates is not None:
        key = "MODEL.COPT.TEMPLATES"
        _fill(cfg, chosen, key, str(description.templates), description)
    templates = cfg.MODEL.COPT.TEMPLATES
    lists = {} if templates == HAND_CRAFTED else load_template_lists(templates)
    for role in ("source", "target"):
        key = f"MODEL.COPT.{role.upper()}_DOMAINS"
        said = dict.fromkeys(part.domain.strip() for part in description.parts[role])
        domains = [word if word in lists else f"{MARK}{word}" for word in said if word]
        if domains:
            _check_words(description, role, domains)
            _fill(cfg, chosen, key, domains, description)
        elif key not in chosen:
            logger.info("%s: %s has no domain: %r is taken", description.path, role, NO_WORDS)
            cfg.MODEL.COPT[f"{role.upper()}_DOMAINS"] = (f"{MARK}{NO_WORDS}",)


def _check_words(description: Description, role: str, domains: Sequence[str]) -> None:
    for domain in domains:
        if "{}" in domain:
            raise InputError(
                f"{description.path}: the domain of {role} is {domain.removeprefix(MARK)!r}: write "
                "words for a kind of image, such as 'video game', or the name of a list"
            )


def _leave_out_feature_distance(cfg: CfgNode, description: Description) -> None:
    uda = cfg.MODEL.UDA
    if uda.FEATURE_DISTANCE.CLASSES or any(entry.thing for entry in description.classes):
        return
    for key in ("FEATURE_LOSSES", "TARGET_FEATURE_LOSSES"):
        if "FeatureDistanceLoss" in uda[key]:
            uda[key] = type(uda[key])(name for name in uda[key] if name != "FeatureDistanceLoss")
            logger.info(
                "no class of %s is a thing (thing: true): MODEL.UDA.%s goes without the feature "
                "distance",
                *(description.path, key),
            )
