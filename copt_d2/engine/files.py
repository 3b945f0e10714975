"""Small text files that a kill or a full disk must not destroy."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes beside the final name and renames: the name holds the old text or the new one.

    Raises:
        OSError: if it cannot be written; the old text stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
