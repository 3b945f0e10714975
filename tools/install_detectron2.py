"""Puts detectron2 into this Python's site-packages, unless it can be imported already.

detectron2 has no release on PyPI; ``sal-detectron2`` carries its code of August 2024 in one wheel.
That wheel is tagged for CPython 3.10 because of a compiled module which semantic segmentation never
uses, pins numpy below 2 and brings a top-level ``tools`` package. This script downloads it (checked
by hash), leaves those three things out and installs the rest. What detectron2 imports stands in
pyproject.toml.
"""

import argparse
import base64
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PIN = "sal-detectron2==0.7.2"
SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"


def pip(*arguments: str) -> None:
    """Runs this interpreter's pip and raises if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def kept_content(name: str, content: bytes) -> bytes:
    """One file of the wheel without the requirements, and with a tag that fits every Python 3."""
    if name.endswith(".dist-info/METADATA"):
        return b"".join(
            line for line in content.splitlines(True) if not line.startswith(b"Requires-Dist")
        )
    if name.endswith(".dist-info/WHEEL"):
        lines = [
            line for line in content.splitlines() if not line.startswith((b"Tag:", b"Root-Is"))
        ]
        return b"\n".join([*lines, b"Root-Is-Purelib: true", b"Tag: py3-none-any", b""])
    return content


def pure_wheel(original: Path, folder: Path) -> Path:
    """Writes the wheel again as pure Python, with a RECORD that fits."""
    name, version = original.name.split("-")[:2]
    rewritten = folder / f"{name}-{version}-py3-none-any.whl"
    record_name = f"{name}-{version}.dist-info/RECORD"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(rewritten, "w") as target:
        record = [f"{record_name},,"]
        for entry in source.namelist():
            compiled = entry.endswith(".so")
            if compiled or entry.startswith("tools/") or entry == record_name:
                continue
            content = kept_content(entry, source.read(entry))
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record.append(f"{entry},sha256={digest.decode()},{len(content)}")
            target.writestr(entry, content)
        target.writestr(record_name, "\n".join(record) + "\n")
    return rewritten


def main(argv: Sequence[str] | None = None) -> None:
    """Installs detectron2 if ``import detectron2`` would fail."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(argv)
    if importlib.util.find_spec("detectron2") is not None:
        command = [sys.executable, "-c", "import detectron2.modeling"]
        tried = subprocess.run(command, capture_output=True, text=True)
        if tried.returncode:
            reason = tried.stderr.strip().splitlines()[-1]
            sys.exit(
                f"error: detectron2 is installed but cannot be imported ({reason}); remove it with "
                f"`{sys.executable} -m pip uninstall detectron2 sal-detectron2` and run this again"
            )
        print("detectron2 is already installed: nothing to do")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{PIN} --hash=sha256:{SHA256}\n")
        pip(
            *(
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--python-version",
                "3.10",
            ),
            *("--require-hashes", "--dest", name, "--requirement", str(requirements)),
        )
        wheel = pure_wheel(next(folder.glob("*.whl")), folder)
        pip("install", "--quiet", "--no-deps", str(wheel))
    print(f"installed detectron2 from {PIN}")


if __name__ == "__main__":
    main()
