"""One command for the tools of this folder: ``copt COMMAND`` = ``python tools/copt.py COMMAND``.

Imports the standard library alone, so that ``copt --help`` and ``copt --version`` answer at once, a
missing detectron2 is said in one line, and a command that needs neither torch nor detectron2 (a
prediction by an ONNX file) runs without them.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
DISTRIBUTION = "copt-d2"


@dataclass(frozen=True)
class Command:
    """A row of the table of commands.

    Attributes:
        tool: the module of this folder. Scripts run from here see each other by their bare names,
            so it has none of the standard library (``inspect`` would hide Python's own).
        summary: what ``copt --help`` says.
        function: of that module; takes the arguments as one list, returns an exit status or None.
        before: arguments that the command puts before the user's.
        light: endings of arguments with which the command needs no detectron2.
    """

    tool: str
    summary: str
    function: str = "main"
    before: tuple[str, ...] = ()
    light: tuple[str, ...] = ()


# one row a command; it exists as soon as its file does
COMMANDS = {
    "train": Command("train_net", "train what a config describes", function="run"),
    "eval": Command("train_net", "evaluate a checkpoint", function="run", before=("--eval-only",)),
    "predict": Command("predict", "predict images, folders and videos", light=(".onnx",)),
    "export": Command("export", "write a trained model as ONNX or torch.export file"),
    "share": Command("share", "write a trained model as a folder for others"),
    "inspect": Command("inspect_data", "write or check the description of your own data"),
    "words": Command("describe_domain", "ask a language model what a domain looks like"),
    "bank": Command("build_text_bank", "make the text bank of a config's classes and domains"),
    "prepare": Command("prepare_dataset", "prepare or check a benchmark's data set"),
    "convert": Command("convert_weights", "turn released checkpoints and weights into ours"),
    "scenes": Command("make_scenes", "draw labelled street scenes"),
    "report": Command("report", "put runs beside the paper's tables"),
    "study": Command("study", "run and compare what a study file lists"),
    "weights": Command("weights", "fetch and check the weights of encoders"),
    "demo": Command("demo", "adapt a model to generated scenes, with scores and a picture"),
}


def available() -> dict[str, Command]:
    """The rows whose tool is there."""
    return {name: row for name, row in COMMANDS.items() if (TOOLS / f"{row.tool}.py").is_file()}


def version() -> str:
    """The installed package's version; of a checkout that is not installed, pyproject.toml's."""
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        import tomllib

        project = TOOLS.parent / "pyproject.toml"
        return tomllib.loads(project.read_text())["project"]["version"]


def detectron2_hint() -> str:
    """What to do about a missing detectron2; "" if it is there."""
    if find_spec("detectron2") is not None:
        return ""
    script = "-m copt_tools.install_detectron2" if __package__ else TOOLS / "install_detectron2.py"
    return f"detectron2 is missing: install it with `python {script}`"


def help_text() -> str:
    """The commands, one a line."""
    rows = available()
    width = max(map(len, rows))
    lines = [f"  {name:{width}}  {row.summary}" for name, row in rows.items()]
    usage = "usage: copt COMMAND [ARGUMENTS]   |   copt COMMAND --help   |   copt --version"
    hint = detectron2_hint()
    return "\n".join([usage, "", *lines, *(["", hint] if hint else [])])


def unknown(word: str) -> str:
    """One line about a word that is no command."""
    rows = available()
    if word.startswith("-"):
        return f"unknown option {word}: options stand behind the command, copt COMMAND {word}"
    near = get_close_matches(word.lower(), rows, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(rows)}"
    return f"unknown command {word}; {hint}"


def load_tool(name: str) -> object:
    """A module of this folder, as part of the package where this file is one."""
    if __package__:
        return importlib.import_module(f"{__package__}.{name}")
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


def run_command(name: str, arguments: Sequence[str]) -> int | None:
    """Runs a command; its tool calls itself ``copt NAME`` in its help and its errors."""
    row = available()[name]
    is_light = any(argument.lower().endswith(row.light) for argument in arguments)
    hint = "" if is_light else detectron2_hint()
    if hint:
        print(f"error: {hint}", file=sys.stderr)
        return 1
    own, sys.argv = sys.argv, [f"copt {name}", *arguments]
    try:
        try:
            function = getattr(load_tool(row.tool), row.function)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("copt_"):
                raise
            missing = f"{error.name} is missing: `pip check` lists what copt-d2 needs"
            print(f"error: {detectron2_hint() or missing}", file=sys.stderr)
            return 1
        return function([*row.before, *arguments])
    finally:
        sys.argv = own


def main(argv: Sequence[str] | None = None) -> int | None:
    """Runs the command that ``argv`` (``None`` = the process's own) names; its exit status."""
    word, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if word in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if word == "--version":
        print(f"copt {version()}")
        return 0
    if word not in available():
        print(f"error: {unknown(word)}", file=sys.stderr)
        return 1
    return run_command(word, arguments)


if __name__ == "__main__":
    sys.exit(main())
