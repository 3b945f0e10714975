"""The configs that come with the package, by name."""

import difflib
from pathlib import Path

from ..errors import InputError
from ..installation import config_folder

# folders beside the configs whose YAML files are none -> what they are, and who takes them
NO_CONFIGS = {
    "descriptions": "a description of data, no config: use it with `copt train FILE`",
    "studies": "a study, no config: use it with `copt study FILE`",
}


def config_names() -> list[str]:
    """Names of all configs: paths below their folder, without the ending."""
    folder = config_folder()
    files = [path.relative_to(folder) for path in folder.rglob("*.yaml")]
    return sorted(p.with_suffix("").as_posix() for p in files if p.parts[0] not in NO_CONFIGS)


def find_config(file: str) -> str:
    """The path of a config file: of a file that is there, or of a config's name.

    Args:
        file: a path, or the name of a config that comes with the package: ``gta2cs``,
            ``baselines/gta2cs_mic``, or its last part where that is the only one, ``gta2cs_mic``.
            A path wins.
    Raises:
        InputError: for an empty, unknown or ambiguous name, and for a data description or a study
            of the package.
    """
    if not file:
        raise InputError(
            "--config-file is missing: name a YAML file, or a config of the package, say gta2cs"
        )
    if Path(file).is_file():
        _refuse_other_kinds(file)
        return file
    names = config_names()
    found = [file] if file in names else [n for n in names if n.endswith(f"/{file}")]
    if len(found) > 1:
        raise InputError(f"--config-file {file} may be {' or '.join(found)}: name one of them")
    if not found:
        raise InputError(f"no such config file: {file}{_hint(file, names)}")
    return str(config_folder() / f"{found[0]}.yaml")


def other_kind(file: str, folder: str) -> str:
    """What to say of a file of the kind that ``folder`` of ``NO_CONFIGS`` holds."""
    return f"{file} is {NO_CONFIGS[folder].replace('FILE', file)}"


def _refuse_other_kinds(file: str) -> None:
    """Files of the package's folders that hold no configs; somebody's own are known by content."""
    parents = Path(file).resolve().parents
    try:
        folder = config_folder().resolve()
    except InputError:  # a config by path needs none of the package's
        return
    for kind in NO_CONFIGS:
        if folder / kind in parents:
            raise InputError(other_kind(file, kind))


def _hint(file: str, names: list[str]) -> str:
    """Names that look like ``file``, which may be written as a path into the folder of configs."""
    word = file.removeprefix("./").removeprefix("configs/").removesuffix(".yaml")
    top = word.partition("/")[0]
    if top in NO_CONFIGS and (config_folder() / f"{word}.yaml").is_file():
        return f"; {other_kind(word, top)}"
    last = {name.rpartition("/")[2]: name for name in reversed(names)}
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.7)
    near += [last[part] for part in difflib.get_close_matches(word, last, n=3, cutoff=0.7)]
    return f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
