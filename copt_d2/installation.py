"""Where this package lies: in a checkout of the project or among the installed ones."""

import os
import subprocess
import tomllib
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .errors import InputError

DISTRIBUTION = "copt-d2"
ROOT = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The project's own folder, if the package lies in it; ``None`` for an installed package."""
    try:
        content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of somebody who has put one beside the installed packages
        return None
    return ROOT if content.get("project", {}).get("name") == DISTRIBUTION else None


def package_version() -> str | None:
    """Of the installed distribution; without one, the checkout's; ``None`` = not to be known."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        folder = checkout()
    if folder is None:
        return None
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]


def code_version(*, short: bool = False) -> str | None:
    """The commit of the checkout that the package lies in, else the package's version.

    A repository around the package that is not this project's (an environment inside somebody's
    own project) says nothing about this code.

    Args:
        short: of the commit only the first digits, with "-dirty" where files have changed since.
    """
    command = ("describe", "--always", "--dirty") if short else ("rev-parse", "HEAD")
    folder = checkout()
    top = folder and _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, *command) if top and Path(top).resolve() == folder else None
    return commit or package_version()


def _git(folder: Path, *command: str) -> str | None:
    """What git prints; ``None`` if it fails or is not there."""
    # git's hooks set GIT_DIR and more, which would be believed before the folder
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *command],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


@cache
def config_folder() -> Path:
    """The folder of the configs that come with the package: the checkout's, or the installed one.

    Raises:
        InputError: if neither is there.
    """
    folder = checkout()
    if folder is not None and (folder / "configs").is_dir():
        return folder / "configs"
    spec = find_spec("copt_configs")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the configs of the package (copt_configs) are missing: install copt-d2 again"
        )
    return Path(next(iter(spec.submodule_search_locations)))
