"""CoPT: unsupervised domain adaptive semantic segmentation on detectron2 (Mata et al., ECCV 2024)."""

try:
    import detectron2  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "detectron2":
        raise
    raise ModuleNotFoundError(
        "copt_d2 needs detectron2: run `python tools/install_detectron2.py` (`make install` does)",
        name="detectron2",
    ) from None

from . import data, modeling  # noqa: F401  (fills the registries and catalogs)
from .config import add_copt_config

__all__ = ["add_copt_config"]
