"""Which entries of a training checkpoint belong to which network."""

from collections.abc import Mapping

from torch import Tensor

STUDENT = "student."


def student_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's entries under the network's own names.

    Args:
        state: of a ``UDASegmentor`` (entries with ``student.`` before them are taken), or of a bare
            network (taken as it is).
    """
    inside = {
        key.removeprefix(STUDENT): value for key, value in state.items() if key.startswith(STUDENT)
    }
    return inside or dict(state)
