"""The wheel in an environment of its own, outside the checkout: the commands and the configs."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from command_line import ROOT, small_run

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long]

PARTS = ("copt_d2", "kernels", "tools", "configs")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
# the running environment's, seen through a .pth: its own packages come after those of the new one
HEAVY = ("torch", "numpy", "detectron2", "cv2", "yaml", "safetensors")


def run(*command, folder, **environment):
    """A process that knows neither the checkout nor the environment of the tests."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=folder,
        env=kept | environment,
    )


def done(finished):
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: no build folder in the checkout, nothing of an earlier build."""
    folder = tmp_path_factory.mktemp("source")
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    has_builder = int(metadata.version("setuptools").partition(".")[0]) >= 77
    options = ["--no-build-isolation"] if has_builder else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done(run(*pip, "wheel", "--no-deps", *options, "-w", folder / "out", folder, folder=folder))
    return next((folder / "out").glob("*.whl"))


@pytest.fixture(scope="module")
def empty(wheel, tmp_path_factory):
    """The folder of executables of an environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    done(run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
    install = ["install", "--no-deps", "--no-index", wheel]
    done(run(*pip, folder / "bin" / "python", *install, folder=folder))
    return folder / "bin"


@pytest.fixture(scope="module")
def bare_answers(empty, tmp_path_factory):
    """What the command says before the libraries are there."""
    folder = tmp_path_factory.mktemp("bare")
    commands = (["--version"], ["--help"], ["train", "--config-file", "gta2cs"])
    return [run(empty / "copt", *command, folder=folder) for command in commands]


@pytest.fixture(scope="module")
def installed(empty, bare_answers):
    """The same environment with the libraries of the running one."""
    origins = [importlib.util.find_spec(name).origin for name in HEAVY]
    places = dict.fromkeys(str(Path(origin).parents[1]) for origin in origins)
    site = next((empty.parent / "lib").glob("python*/site-packages"))
    (site / "heavy.pth").write_text("\n".join(places) + "\n")
    where = "import copt_d2, copt_tools, copt_kernels, copt_configs as c; print(c.__path__[0])"
    assert done(run(empty / "python", "-c", where, folder=site.parent)).strip() == str(
        site / "copt_configs"
    )
    return empty


def test_the_wheel_holds_the_configs_and_tools_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    yaml = {name for name in names if name.endswith(".yaml")}
    configs = ROOT / "configs"
    own = {f"copt_configs/{file.relative_to(configs)}" for file in configs.rglob("*.yaml")}
    assert yaml == own
    assert {f"copt_tools/{path.name}" for path in (ROOT / "tools").glob("*.py")} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    packages = {"copt_d2", "copt_kernels", "copt_tools", "copt_configs"}
    assert {name for name in tops if not name.endswith(".dist-info")} == packages


def test_before_the_libraries_are_there(bare_answers):
    version, text, training = bare_answers
    assert done(version) == f"copt {metadata.version('copt-d2')}\n"
    hint = "detectron2 is missing: install it with `python -m copt_tools.install_detectron2`"
    assert hint in done(text)
    assert (training.returncode, training.stderr) == (1, f"error: {hint}\n")


def test_it_works_outside_the_checkout(installed, camvid, bank, tmp_path):
    copt = installed / "copt"
    assert "detectron2" not in done(run(copt, "--help", folder=tmp_path))
    again = [installed / "python", "-m", "copt_tools.install_detectron2"]
    assert "nothing to do" in done(run(*again, folder=tmp_path))
    scenes = ["scenes", "--style", "town", "--source", "2", "--width", "128", "--out", "sets"]
    done(run(copt, *scenes, folder=tmp_path))
    assert len(list((tmp_path / "sets").rglob("*.png"))) == 4  # images and labels
    options = small_run(bank, "runs/one", config="camvid_smoke", SOLVER__MAX_ITER=2)
    sets = {"DETECTRON2_DATASETS": str(camvid), "COPT_D2_CACHE": str(tmp_path / "cache")}
    done(run(copt, "train", *options, folder=tmp_path, **sets))
    file = tmp_path / "runs" / "one" / "evaluation" / "camvid_day_val.json"
    first = json.loads(file.read_text())
    assert first["commit"] == metadata.version("copt-d2")
    done(run(copt, "eval", *options, folder=tmp_path, **sets))
    assert json.loads(file.read_text())["mIoU"] == first["mIoU"]
    done(run(copt, "report", "runs/one", "--out", "report.md", folder=tmp_path, **sets))
    assert "camvid_day_val" in (tmp_path / "report.md").read_text()
    wrong = run(copt, "train", "--config-file", "camvid_smok", folder=tmp_path)
    assert wrong.returncode == 1
    assert "did you mean smoke/camvid_smoke" in wrong.stderr
