import builtins
import importlib

import pytest

from copt_d2.engine import measuring


@pytest.mark.parametrize("module", ["resource", "fcntl"])
def test_windows_lacks_modules(monkeypatch, module):
    """Without ``resource`` there is no peak of the host's memory; nothing else needs these two."""
    system_import = builtins.__import__

    def windows(name, *args, **kwargs):
        if name == module:
            raise ImportError(name)
        return system_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", windows)
    try:
        importlib.reload(measuring)
        assert ("unknown" in measuring.describe_memory()) == (module == "resource")
    finally:
        monkeypatch.undo()
        importlib.reload(measuring)
    assert "MiB" in measuring.describe_memory()
