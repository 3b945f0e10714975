"""Which entries of a checkpoint belong to which network."""

from collections.abc import Iterable

from .mmseg import AROUND, has_released_names, mmseg_names

PARTS = ("student", "teacher")
ALIASES = {"model": "student", "ema_model": "teacher"}  # the authors' words for them
PREFIXES = {"student": "student.", "teacher": "teacher.network."}


def network_names(keys: Iterable[str], part: str = "student") -> dict[str, str]:
    """Where the weights of a network stand in a checkpoint of ours, of the authors' code, or in a
    file of one network alone.

    Args:
        keys: of the file.
        part: "student" or "teacher"; one network alone is a student.
    Returns:
        {name in ``build_segmentation_network(cfg).state_dict()``: key in the file}.
    Raises:
        ValueError: for another part.
        KeyError: saying what is missing, by its key in the file.
    """
    if part not in PARTS:
        raise ValueError(f"part {part!r}; there are {', '.join(PARTS)}")
    keys = list(keys)
    if has_released_names(keys):
        return mmseg_names(keys, "model" if part == "student" else "ema_model")
    around = AROUND if all(key.startswith(AROUND) for key in keys) else ""
    bare = {key.removeprefix(around): key for key in keys}
    prefix = PREFIXES[part]
    inside = {n.removeprefix(prefix): key for n, key in bare.items() if n.startswith(prefix)}
    if inside:
        return inside
    if part == "teacher":
        first = keys[0] if keys else "nothing"
        raise KeyError(f"it has no teacher: no key begins with {prefix!r}; the first is {first!r}")
    return bare
