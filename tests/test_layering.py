"""Imports go down only; the map is the dictionary below."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# part -> what it may import of our two packages besides itself (a part covers the modules below it)
LEAVES = ("copt_d2.structures", "copt_d2.errors", "copt_d2.class_names")
ALLOWED = {
    # copt_d2/__init__.py alone
    "copt_d2": ("copt_d2.data", "copt_d2.modeling", "copt_d2.config", "copt_d2.inference"),
    "copt_d2.config": (),
    "copt_d2.structures": (),
    "copt_d2.errors": (),
    "copt_d2.class_names": ("copt_d2.errors",),
    "copt_d2.files": (),
    "copt_d2.installation": ("copt_d2.errors",),
    "copt_d2.weight_files": ("copt_d2.errors",),
    "copt_d2.data": (*LEAVES, "copt_d2.files"),
    "copt_d2.augment": LEAVES,
    "copt_d2.evaluation": LEAVES,
    "copt_d2.solver": LEAVES,
    "copt_d2.checkpoint": LEAVES,
    "copt_d2.text": LEAVES,
    "copt_d2.scenes": ("copt_d2.data.label_spaces", "copt_d2.errors"),
    "copt_d2.modeling": (*LEAVES, "copt_d2.augment", "copt_d2.weight_files"),
    "copt_d2.modeling.losses": (*LEAVES, "copt_d2.modeling", "copt_kernels"),
    "copt_d2.engine": (
        *(*LEAVES, "copt_d2.config", "copt_d2.data", "copt_d2.modeling", "copt_d2.evaluation"),
        *("copt_d2.solver", "copt_d2.checkpoint", "copt_d2.files", "copt_d2.weight_files"),
        *("copt_d2.installation", "copt_d2.text.templates"),
    ),
    # of the engine what reads checkpoints and configs, and nothing that trains
    "copt_d2.inference": (
        *("copt_d2.data", "copt_d2.modeling", "copt_d2.evaluation", "copt_d2.checkpoint"),
        *("copt_d2.engine.checkpointing", "copt_d2.engine.class_checks", "copt_d2.files"),
        *("copt_d2.engine.config_files", "copt_d2.engine.student_weights", "copt_d2.errors"),
        "copt_d2.engine.network_file",
    ),
    "copt_kernels": (),
}
KERNEL_LIBRARIES = {"torch", "triton", *sys.stdlib_module_names}
# each waits for the device, or moves a tensor away from it
BANNED_CALLS = {"item", "cpu", "cuda", "numpy"}


def inside(module, package):
    return module == package or module.startswith(f"{package}.")


def imported_modules(source, module, is_package=False):
    """Absolute names of all that a file imports, at its top or within functions.

    ``from a import b`` counts as ``a`` and as ``a.b``, because b may be a module; with the whole
    package as ``a`` it is ``a.b`` alone.
    """
    package = module if is_package else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
            found |= {base} - {"copt_d2"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def wrong_imports(source, module, is_package=False):
    """Imports of a file that its part may not have."""
    part = max((part for part in ALLOWED if inside(module, part)), key=len)
    if part == "copt_d2" and module != "copt_d2":
        return [f"{module}: a part that is not on the map"]
    allowed = ALLOWED[part] if part == "copt_d2" else (*ALLOWED[part], part)
    wrong = []
    for name in sorted(imported_modules(source, module, is_package)):
        top = name.partition(".")[0]
        ours = top in ("copt_d2", "copt_kernels")
        if (
            top in ("tools", "copt_tools", "tests", "conftest")
            or (ours and not any(inside(name, target) for target in allowed))
            or (not ours and part == "copt_kernels" and top not in KERNEL_LIBRARIES)
        ):
            wrong.append(f"{module} imports {name}")
    return wrong


def banned_calls(source):
    """Lines with a call of one of ``BANNED_CALLS``."""
    return [
        f"line {node.lineno}: .{node.func.attr}()"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in BANNED_CALLS
    ]


def source_files():
    """(path, module name, whether it is an ``__init__.py``) of both packages."""
    for folder, package in (("copt_d2", "copt_d2"), ("kernels", "copt_kernels")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            is_package = parts[-1] == "__init__"
            yield path, ".".join(parts[:-1] if is_package else parts), is_package


FILES = list(source_files())


@pytest.mark.parametrize(("path", "module", "is_package"), FILES, ids=[m for _, m, _ in FILES])
def test_imports_go_down(path, module, is_package):
    assert wrong_imports(path.read_text(), module, is_package) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_tools_import_this_package_before_detectron2(path):
    """Its import silences a warning of detectron2's that a user cannot help."""
    imported = [
        name.partition(".")[0]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [node.names[0].name])
    ]
    assert "detectron2" not in imported[: (*imported, "copt_d2").index("copt_d2")]


def test_the_one_command_imports_the_standard_library_alone():
    """What else a command needs, its tool imports: `copt --help` answers at once."""
    names = imported_modules((ROOT / "tools" / "copt.py").read_text(), "copt_tools.copt")
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert (
        imported_modules((ROOT / "tools" / "__init__.py").read_text(), "copt_tools", True) == set()
    )


def test_no_tool_hides_a_module_of_the_standard_library():
    """A script's folder comes first where Python looks: tools/inspect.py would break them all."""
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert not tools & set(sys.stdlib_module_names)


def test_the_configs_package_is_data():
    assert [path.name for path in (ROOT / "configs").rglob("*.py")] == ["__init__.py"]
    assert imported_modules((ROOT / "configs" / "__init__.py").read_text(), "copt_configs") == set()


@pytest.mark.parametrize(
    "path",
    [p for p, m, _ in FILES if inside(m, "copt_d2.modeling")],
    ids=[m for _, m, _ in FILES if inside(m, "copt_d2.modeling")],
)
def test_the_model_never_waits_for_the_device(path):
    assert banned_calls(path.read_text()) == []


def test_every_part_of_the_map_exists():
    modules = {module for _, module, _ in FILES}
    assert set(ALLOWED) <= modules
    for targets in ALLOWED.values():
        assert set(targets) <= modules


# the checkers themselves


@pytest.mark.parametrize(
    ("module", "source", "imported"),
    [
        ("copt_d2.data.loader", "from ..modeling.teacher import EMATeacher", "copt_d2.modeling"),
        ("copt_d2.solver.build", "from .. import modeling", "copt_d2.modeling"),
        ("copt_d2.text.bank", "import copt_d2.modeling.losses", "copt_d2.modeling"),
        ("copt_d2.augment.strong", "def f():\n    from ..data import x", "copt_d2.data"),
        ("copt_d2.modeling.teacher", "from copt_d2.engine import UDATrainer", "copt_d2.engine"),
        ("copt_d2.modeling.teacher", "from copt_kernels import class_means", "copt_kernels"),
        ("copt_d2.modeling.networks.x", "from ...text import bank", "copt_d2.text"),
        ("copt_d2.engine.trainer", "from copt_kernels import class_means", "copt_kernels"),
        ("copt_d2.engine.trainer", "from ..scenes import render", "copt_d2.scenes"),
        ("copt_d2.scenes.styles", "from ..data.datasets import x", "copt_d2.data.datasets"),
        ("copt_d2.scenes.styles", "from copt_d2.data import datasets", "copt_d2.data"),
        ("copt_d2.evaluation.metrics", "import copt_d2", "copt_d2"),
        (
            "copt_d2.evaluation.metrics",
            "import importlib\nimportlib.import_module('tools.x')",
            "tools",
        ),
        ("copt_d2.data.mappers", "from tools.train_net import setup", "tools"),
        ("copt_d2.engine.launch", "from copt_tools import train_net", "copt_tools"),
        ("copt_d2.data.mappers", "import tests.conftest", "tests"),
        ("copt_d2.structures", "from .data import mappers", "copt_d2.data"),
        ("copt_kernels.class_covariance.torch_impl", "import numpy as np", "numpy"),
        ("copt_kernels.class_covariance.torch_impl", "import detectron2", "detectron2"),
        (
            "copt_kernels.class_covariance.torch_impl",
            "from copt_d2 import errors",
            "copt_d2.errors",
        ),
    ],
)
def test_a_wrong_import_is_found(module, source, imported):
    found = wrong_imports(source, module)
    assert found
    assert all(line.startswith(f"{module} imports {imported}") for line in found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "copt_d2.data.loader",
            "import cv2\nfrom ..errors import InputError\nfrom . import mappers",
        ),
        ("copt_d2.modeling.teacher", "from ..augment import mix\nfrom .losses import CoPTLoss"),
        ("copt_d2.modeling.losses.copt", "import copt_kernels\nfrom ..text_bank import x"),
        ("copt_d2.engine.trainer", "from ..solver import x\nfrom .hooks import y"),
        ("copt_d2.scenes.styles", "from copt_d2.data.label_spaces import CITYSCAPES"),
        ("copt_kernels.class_covariance.triton_impl", "import math, triton.language as tl, torch"),
    ],
)
def test_a_right_import_is_not(module, source):
    assert wrong_imports(source, module) == []


def test_a_package_and_an_unknown_part():
    assert wrong_imports("from ..data import x", "copt_d2.solver", is_package=True)
    assert wrong_imports("from .build import x", "copt_d2.solver", is_package=True) == []
    assert wrong_imports("", "copt_d2.helpers") == [
        "copt_d2.helpers: a part that is not on the map"
    ]


def test_banned_calls_are_found():
    source = "x = loss.item()\nitem = x\ny = x.detach().cpu().numpy()\nz = numpy.zeros(3)\nx.cuda"
    assert sorted(banned_calls(source)) == [
        "line 1: .item()",
        "line 3: .cpu()",
        "line 3: .numpy()",
    ]
