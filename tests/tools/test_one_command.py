"""The dispatcher of `copt`: what it lists, what it starts, what it says of a wrong word."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TODAY = {"train", "eval", "words", "bank", "prepare", "convert", "scenes", "report", "demo"}


@pytest.fixture
def copt(load_tool):
    return load_tool("copt")


def in_new_process(*arguments, before="", folder=None):
    """Runs `copt ARGUMENTS` through the package, after the line ``before``."""
    code = f"import sys\n{before}\nfrom copt_tools.copt import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def without(*packages):
    """Python's search for modules as it is where these are not installed."""
    return (
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {packages}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "import importlib.util as u, importlib\n"
        "real = u.find_spec\n"
        f"u.find_spec = lambda n, p=None: None if n in {packages} else real(n, p)\n"
        "sys.meta_path.insert(0, Hide())"
    )


def test_each_listed_command_has_its_tool_and_function(copt):
    rows = copt.available()
    assert set(rows) >= TODAY
    for row in rows.values():
        tree = ast.parse((ROOT / "tools" / f"{row.tool}.py").read_text())
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        arguments = functions[row.function].args
        assert len(arguments.args) - len(arguments.defaults) <= 1


def test_every_tool_can_be_called_with_a_list(copt):
    for path in sorted((ROOT / "tools").glob("*.py")):
        names = {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}
        assert "main" in names or path.name == "__init__.py", path.name


def test_a_command_without_its_tool_is_not_there(copt, tmp_path, monkeypatch, capsys):
    (tmp_path / "report.py").write_text("")
    monkeypatch.setattr(copt, "TOOLS", tmp_path)
    assert list(copt.available()) == ["report"]
    assert copt.main(["train"]) == 1
    assert "train" not in copt.help_text().splitlines()[2:]
    assert capsys.readouterr().err == "error: unknown command train; the commands are report\n"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trian", "unknown command trian; did you mean train?"),
        ("EVAL", "unknown command EVAL; did you mean eval?"),
        ("reports", "unknown command reports; did you mean report?"),
        ("--resume", "unknown option --resume: options stand behind the command, "),
        ("xyz", "unknown command xyz; the commands are train, eval, "),
        ("", "unknown command ; the commands are train, eval, "),
    ],
)
def test_a_wrong_word_is_one_line(copt, capsys, word, message):
    assert copt.main([word, "--help"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(copt, capsys, argv):
    assert copt.main(argv) == 0
    out = capsys.readouterr().out
    assert {line.split()[0] for line in out.splitlines()[2:] if line} == set(copt.available())


def test_arguments_reach_the_tool_and_its_status_comes_back(copt, tmp_path, monkeypatch):
    (tmp_path / "train_net.py").write_text(
        "import sys\nseen = []\ndef run(argv):\n    seen.append((argv, sys.argv))\n    return 3\n"
    )
    monkeypatch.setattr(copt, "TOOLS", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.delitem(sys.modules, "train_net", raising=False)
    assert copt.main(["eval", "--config-file", "a b"]) == 3
    seen = sys.modules.pop("train_net").seen
    arguments = ["--eval-only", "--config-file", "a b"]
    assert seen == [(arguments, ["copt eval", "--config-file", "a b"])]
    assert sys.argv == ["pytest"]


def test_help_and_version_import_nothing_heavy():
    for option in ("--help", "--version"):
        start = time.monotonic()
        done = in_new_process(option, before=without("torch", "numpy", "cv2", "copt_d2", "yaml"))
        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - start < 5  # 0.1 s with nothing beside; torch alone takes longer


def test_version_of_a_checkout_that_is_not_installed(copt, capsys, monkeypatch):
    monkeypatch.setattr(copt, "DISTRIBUTION", "copt-d2-that-nobody-installs")
    assert copt.main(["--version"]) == 0
    assert capsys.readouterr().out == "copt 0.1.0\n"


def test_a_missing_detectron2_is_one_line_with_the_command(tmp_path):
    hint = "detectron2 is missing: install it with `python -m copt_tools.install_detectron2`"
    hidden = without("detectron2", "torch")
    done = in_new_process("train", "--config-file", "gta2cs", before=hidden, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: {hint}\n")
    assert in_new_process("--help", before=hidden).stdout.endswith(f"\n{hint}\n")


def test_a_light_argument_needs_neither_torch_nor_detectron2(copt, tmp_path, monkeypatch, capsys):
    (tmp_path / "predict.py").write_text("def main(argv):\n    print('light', *argv)\n")
    monkeypatch.setattr(copt, "TOOLS", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(copt, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "predict", raising=False)  # the tool, if a test has loaded it
    assert copt.main(["predict", "model.onnx", "frames"]) is None
    assert capsys.readouterr().out == "light model.onnx frames\n"
    del sys.modules["predict"]
    monkeypatch.setattr(copt, "TOOLS", ROOT / "tools")
    assert copt.main(["train", "model.onnx", "frames"]) == 1
    script = ROOT / "tools" / "install_detectron2.py"  # this module was loaded by its path
    hint = f"detectron2 is missing: install it with `python {script}`"
    assert capsys.readouterr().err == f"error: {hint}\n"


def test_another_missing_library_is_one_line(copt, tmp_path, monkeypatch, capsys):
    (tmp_path / "report.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.setattr(copt, "TOOLS", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "report", raising=False)
    assert copt.main(["report", "run"]) == 1
    missing = "a_library_that_nobody_has is missing: `pip check` lists what copt-d2 needs"
    assert capsys.readouterr().err == f"error: {missing}\n"


def test_a_script_from_another_folder_is_the_same_command(tmp_path):
    script = [sys.executable, str(ROOT / "tools" / "copt.py")]
    for arguments in (["--help"], ["--version"], ["trian"]):
        ran = subprocess.run([*script, *arguments], capture_output=True, text=True, cwd=tmp_path)
        packaged = in_new_process(*arguments, folder=tmp_path)
        assert (ran.returncode, ran.stdout, ran.stderr) == (
            *(packaged.returncode, packaged.stdout, packaged.stderr),
        )


@pytest.mark.integration
def test_a_script_from_another_folder_starts_its_tool(tmp_path):
    script = [sys.executable, str(ROOT / "tools" / "copt.py"), "scenes", "--style", "none"]
    ran = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "none" in ran.stderr
