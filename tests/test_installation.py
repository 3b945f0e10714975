"""Whose commit a record carries, and where the configs are."""

import subprocess
from pathlib import Path

import pytest

from copt_d2 import installation

ROOT = Path(__file__).resolve().parents[1]
VERSION = "0.1.0"
OURS = f'[project]\nname = "copt-d2"\nversion = "{VERSION}"\n'


def git(folder, *command):
    identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(folder):
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Lets the package lie in a folder, beside a pyproject.toml or alone."""

    def put(folder, project=None):
        folder.mkdir(parents=True, exist_ok=True)
        if project is not None:
            (folder / "pyproject.toml").write_text(project)
        monkeypatch.setattr(installation, "ROOT", folder.resolve())
        monkeypatch.setattr(installation.metadata, "version", lambda name: VERSION)

    return put


def test_in_a_checkout_of_the_project_it_is_the_commit(tmp_path, place):
    commit = repository(tmp_path / "project")
    place(tmp_path / "project", OURS)
    assert installation.code_version() == commit
    assert commit.startswith(installation.code_version(short=True))
    git(tmp_path / "project", "add", ".")
    assert installation.code_version(short=True) == f"{commit[:7]}-dirty"


def test_git_variables_of_a_hook_do_not_count(tmp_path, place, monkeypatch):
    commit, other = repository(tmp_path / "project"), tmp_path / "other"
    repository(other)
    git(other, "commit", "-q", "--allow-empty", "-m", "two")
    place(tmp_path / "project", OURS)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert installation.code_version() == commit


@pytest.mark.parametrize(
    ("below", "project"),
    [
        (".venv/lib/python3.11/site-packages", None),  # an environment inside anybody's project
        ("vendored", OURS),  # a copy inside another repository
        (".", '[project]\nname = "warehouse"\nversion = "3"\n'),
        (".", "[tool.ruff]\nline-length = 100\n"),
        ("site-packages", "[project\nname = "),
    ],
)
def test_in_another_repository_it_is_the_version(tmp_path, place, below, project):
    repository(tmp_path / "theirs")
    place(tmp_path / "theirs" / below, project)
    assert installation.code_version() == installation.code_version(short=True) == VERSION


def test_a_copy_without_repository_and_installation(tmp_path, place, monkeypatch):
    def missing(name):
        raise installation.metadata.PackageNotFoundError(name)

    place(tmp_path / "unpacked", OURS)
    monkeypatch.setattr(installation.metadata, "version", missing)
    assert installation.code_version() == VERSION
    place(tmp_path / "alone")
    monkeypatch.setattr(installation.metadata, "version", missing)
    assert installation.code_version() is None


def test_without_git(tmp_path, place, monkeypatch):
    repository(tmp_path)
    place(tmp_path, OURS)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installation.code_version() == VERSION


def test_a_checkout_has_its_own_configs():
    installation.config_folder.cache_clear()
    assert installation.config_folder() == ROOT / "configs"


def test_an_installed_package_finds_the_installed_configs(tmp_path, place, monkeypatch):
    place(tmp_path)  # site-packages: no pyproject.toml
    (tmp_path / "configs").mkdir()  # of somebody else
    (tmp_path / "copt_configs").mkdir()
    (tmp_path / "copt_configs" / "__init__.py").write_text("")
    monkeypatch.setattr("sys.meta_path", [__import__("importlib.machinery").machinery.PathFinder])
    monkeypatch.syspath_prepend(tmp_path)
    installation.config_folder.cache_clear()
    assert installation.config_folder() == tmp_path / "copt_configs"
    installation.config_folder.cache_clear()
