"""The Dockerfile without an engine: its steps, and that what it copies is there and not ignored."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def instructions():
    """(instruction, rest) of each step; continued lines joined, comments left out."""
    lines = [
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def ignored(path):
    """Whether .dockerignore leaves out a file at the top: the last pattern that fits counts."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatch(path, pattern.removeprefix("!")):
            verdict = not pattern.startswith("!")
    return verdict


def rest_of(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def test_all_steps_are_instructions():
    known = {"FROM", "ARG", "ENV", "SHELL", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known
    assert instructions()[0][0] == "FROM"


def test_it_is_the_command_for_the_cpu_and_not_as_root():
    assert rest_of("ARG") == ["DEVICE=cpu"]
    assert json.loads(rest_of("ENTRYPOINT")[-1]) == ["copt"]
    assert json.loads(rest_of("CMD")[-1]) == ["--help"]
    assert rest_of("USER")[-1] == "1000"
    torch_step = next(step for step in rest_of("RUN") if "torchvision" in step)
    assert re.findall(r"(\w+)\) index=(\S+?);? ", torch_step) == [
        ("cpu", "https://download.pytorch.org/whl/cpu"),
        ("cuda", "https://pypi.org/simple"),
    ]


def test_what_it_copies_is_all_that_the_package_is_made_of():
    copied = set()
    for rest in rest_of("COPY"):
        *sources, target = shlex.split(rest)
        if sources[0].startswith("--from="):
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not ignored(source), source
            assert target in ("/src/", f"/src/{source}")
            copied.add(source)
    folders = {"copt_d2", "kernels", "tools", "configs"}  # package_dir of setup.py
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = {"pyproject.toml", "setup.py", project["readme"], *project["license-files"]}
    assert copied == folders | files
    for name in (".git", ".venv", "datasets", "output", "tests", "docs"):
        assert ignored(name), name


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_its_versions_are_allowed(name):
    steps = " ".join(rest_of("RUN"))
    pinned = re.search(rf"\b{name}==([\d.]+)", steps)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = next(r for r in map(Requirement, project["dependencies"]) if r.name == name)
    assert needed.specifier.contains(pinned)
    python = re.findall(r"python:([\d.]+)-slim", " ".join(rest_of("FROM")))
    assert python == ["3.12", "3.12"]
