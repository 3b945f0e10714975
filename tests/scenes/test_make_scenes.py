import pytest

COUNTS = ["--source", "1", "--target", "1", "--val", "1", "--width", "128"]


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("make_scenes")


def run(tool, out, *extra, benchmark="gta2cs"):
    return tool.main(["--benchmark", benchmark, "--out", str(out), *COUNTS, *extra])


def error_line(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_writes_once_then_has_nothing_to_do(tool, tmp_path, capsys):
    assert run(tool, tmp_path) == 0
    assert "wrote" in capsys.readouterr().out
    image = tmp_path / "gta" / "images" / "00001.png"
    before = image.stat().st_mtime_ns
    assert run(tool, tmp_path) == 0
    assert "already there" in capsys.readouterr().out
    assert image.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--width", "200"], ["--width is 200", "multiple of 32"]),
        (["--width", "96"], ["--width is 96", "at least 128"]),
        (["--source", "-1"], ["--source is -1"]),
        (["--target", "-2"], ["--target is -2"]),
        (["--val", "-3"], ["--val is -3"]),
        (["--seed", "-4"], ["--seed is -4"]),
    ],
)
def test_bad_numbers_are_named(tool, tmp_path, capsys, extra, words):
    assert run(tool, tmp_path, *extra) == 1
    line = error_line(capsys)
    assert all(word in line for word in words)
    assert not any(tmp_path.iterdir())


def test_unknown_benchmark_is_named(tool, tmp_path, capsys):
    assert run(tool, tmp_path, benchmark="mars2cs") == 1
    line = error_line(capsys)
    assert "mars2cs" in line
    for name in ("gta2cs", "synthia2cs", "cs2dz", "cs2acdc"):
        assert name in line


@pytest.mark.parametrize("extra", [["--val", "3"], ["--target", "1"]])
def test_each_condition_of_acdc_has_a_scene_or_none_has(tool, tmp_path, capsys, extra):
    assert run(tool, tmp_path, "--target", "4", "--val", "4", *extra, benchmark="cs2acdc") == 1
    line = error_line(capsys)
    assert f"{extra[0]} is {extra[1]}" in line
    assert "4 or more" in line
    assert not any(tmp_path.iterdir())


def test_other_arguments_for_a_shared_set_are_refused_by_name(tool, tmp_path, capsys):
    assert run(tool, tmp_path) == 0
    capsys.readouterr()
    assert run(tool, tmp_path, "--source", "2", benchmark="cs2dz") == 1
    line = error_line(capsys)
    assert str(tmp_path / "cityscapes") in line
    assert "splits" in line
    assert not (tmp_path / "dark_zurich").exists()


def test_a_file_in_place_of_the_folder(tool, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert run(tool, tmp_path / "taken") == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: cannot write")
    assert "taken" in line


@pytest.mark.parametrize("folder", ["gta", "cityscapes"])
def test_real_data_is_left_alone(tool, tmp_path, capsys, folder):
    real = tmp_path / folder / "images" / "00001.png"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    assert run(tool, tmp_path) == 1
    line = error_line(capsys)
    assert str(tmp_path / folder) in line
    assert "--out" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [real]


def test_other_arguments_are_refused_by_name(tool, tmp_path, capsys):
    assert run(tool, tmp_path) == 0
    capsys.readouterr()
    assert run(tool, tmp_path, "--seed", "5") == 1
    assert "seed: 0 instead of 5" in error_line(capsys)


def test_a_damaged_marker_is_named(tool, tmp_path, capsys):
    marker = tmp_path / "gta" / "scenes.json"
    marker.parent.mkdir()
    marker.write_text('{"version": 1')
    assert run(tool, tmp_path) == 1
    assert str(marker) in error_line(capsys)


def test_a_data_set_of_one_look(tool, tmp_path, capsys):
    command = ["--style", "town", "--out", str(tmp_path), *COUNTS, "--source", "2"]
    assert tool.main(command) == 0
    folder = tmp_path / "scenes_town"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert names == ["images/00001.png", "images/00002.png", "labels/00001.png", "labels/00002.png"]
    capsys.readouterr()
    assert tool.main(command) == 0
    assert "already there" in capsys.readouterr().out
    assert tool.main([*command, "--seed", "3"]) == 1
    assert "seed: 0 instead of 3" in error_line(capsys)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--style", "oil"], ["oil", "photographic", "town"]),
        (["--style", "town", "--source", "-1"], ["--source is -1"]),
        (["--style", "rendered", "--width", "100"], ["--width is 100"]),
    ],
)
def test_bad_arguments_of_one_look_are_named(tool, tmp_path, capsys, extra, words):
    assert tool.main(["--out", str(tmp_path), *COUNTS, *extra]) == 1
    line = error_line(capsys)
    assert all(word in line for word in words)
    assert not any(tmp_path.iterdir())
