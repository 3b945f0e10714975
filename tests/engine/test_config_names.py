"""Configs by name: which file a name means, and what is said of a wrong one."""

import shutil
from pathlib import Path

import pytest

from copt_d2.engine import config_names as module
from copt_d2.engine import load_config
from copt_d2.engine.config_names import config_names, find_config
from copt_d2.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def message(name):
    with pytest.raises(InputError) as raised:
        find_config(name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gta2cs", "gta2cs.yaml"),
        ("demo", "demo.yaml"),  # and not data/demo.yaml
        ("data/demo", "data/demo.yaml"),
        ("baselines/gta2cs_mic", "baselines/gta2cs_mic.yaml"),
        ("gta2cs_mic", "baselines/gta2cs_mic.yaml"),
        ("camvid_smoke", "smoke/camvid_smoke.yaml"),
        ("mic", "base/mic.yaml"),
    ],
)
def test_a_name_is_a_file_of_the_package(name, file):
    assert find_config(name) == str(CONFIGS / file)


def test_every_name_is_found_and_loads_with_its_bases():
    assert {"gta2cs", "baselines/gta2cs_mic", "base/copt"} <= set(config_names())
    for name in config_names():
        assert find_config(name) == str(CONFIGS / f"{name}.yaml")
    cfg = load_config("gta2cs", ["SOLVER.MAX_ITER", "7"])
    assert (cfg.OUTPUT_DIR, cfg.SOLVER.MAX_ITER) == ("output/gta2cs", 7)


def test_a_path_wins(tmp_path):
    (tmp_path / "gta2cs").write_text("SEED: 5\n")
    assert find_config("gta2cs") == "gta2cs"
    assert load_config("gta2cs").SEED == 5


def test_a_path_needs_no_config_of_the_package(tmp_path, monkeypatch):
    def missing():
        raise InputError("the configs are missing")

    monkeypatch.setattr(module, "config_folder", missing)
    (tmp_path / "own.yaml").write_text("SEED: 5\n")
    assert find_config("own.yaml") == "own.yaml"
    assert message("gta2cs") == "the configs are missing"


def test_a_folder_of_that_name_does_not(tmp_path):
    (tmp_path / "gta2cs").mkdir()
    assert find_config("gta2cs") == str(CONFIGS / "gta2cs.yaml")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gta2sc", "gta2cs"),
        ("gta2cs.yaml", "gta2cs"),
        ("configs/gta2cs.yaml", "gta2cs"),
        ("./configs/baselines/gta2cs_mic.yaml", "baselines/gta2cs_mic"),
        ("baseline/gta2cs_mic", "baselines/gta2cs_mic"),
        ("gta2cs-mic", "baselines/gta2cs_mic"),
        ("camvid_dusk2day", "camvid_day2dusk"),
        ("../base/mic", "base/mic"),
    ],
)
def test_an_unknown_name_has_close_matches(name, near):
    head, _, hint = message(name).partition("; did you mean ")
    assert head == f"no such config file: {name}"
    assert near in hint.rstrip("?").split(", ")


@pytest.mark.parametrize("name", ["warehouse.yaml", "/a/b/c.yaml", "../up", "a\tb"])
def test_what_looks_like_none_has_no_hint(name):
    assert message(name) == f"no such config file: {name}"


def test_a_name_that_several_have(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.yaml").write_text("SEED: 1\n")
    monkeypatch.setattr(module, "config_folder", lambda: tmp_path)
    assert message("same") == "--config-file same may be one/same or two/same: name one of them"
    assert find_config("two/same") == str(tmp_path / "two" / "same.yaml")


def test_descriptions_and_studies_are_told_apart(tmp_path, monkeypatch):
    folder = tmp_path / "package"
    for kind in ("descriptions", "studies"):
        (folder / kind / "deeper").mkdir(parents=True)
        for place in (kind, f"{kind}/deeper"):
            (folder / place / "town.yaml").write_text("classes: [road]\nsource: x\n")
    shutil.copy(CONFIGS / "base" / "source_only.yaml", folder / "town.yaml")
    monkeypatch.setattr(module, "config_folder", lambda: folder)
    assert config_names() == ["town"]
    assert find_config("town") == str(folder / "town.yaml")
    for kind, words in (("descriptions", "description of data"), ("studies", "study")):
        assert f"; {kind}/town is a {words}, no config: use it with `copt " in message(
            f"{kind}/town"
        )
        path = str(folder / kind / "deeper" / "town.yaml")
        assert message(path).startswith(f"{path} is a {words}, no config: use it with `copt ")
        assert path in message(path).partition("`copt ")[2]


def test_somebodys_own_description_is_told_apart(tmp_path):
    file = tmp_path / "warehouse.yaml"
    file.write_text("classes: [floor, pallet]\nsource: {images: sim, masks: mask}\ntarget: cam\n")
    with pytest.raises(InputError) as raised:
        load_config(str(file))
    assert str(raised.value) == (
        f"{file} is a description of data, no config: use it with `copt train {file}`"
    )
