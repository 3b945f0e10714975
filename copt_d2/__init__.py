"""CoPT: unsupervised domain adaptive segmentation on detectron2 (Mata et al., ECCV 2024)."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import Predictor

try:
    import detectron2  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "detectron2":
        raise
    raise ModuleNotFoundError(
        "copt_d2 needs detectron2: run `python -m copt_tools.install_detectron2`",
        name="detectron2",
    ) from None

from .config import add_copt_config

with warnings.catch_warnings():
    # fvcore and detectron2 use it when they are imported; a user of this package cannot help it
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
    from . import data, modeling  # noqa: F401  (fills the registries and catalogs)

__all__ = ["add_copt_config", "load_model"]


def load_model(
    source: Any, *, device: Any = None, config: Any = None, part: str = "student"
) -> "Predictor":
    """A trained model that predicts: see :func:`copt_d2.inference.load_model`."""
    from .inference import load_model as load  # it needs all that this package imports above

    return load(source, device=device, config=config, part=part)
