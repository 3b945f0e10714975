"""How similar the classes of a text bank are: as a table and as a picture."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tabulate import tabulate
from torch import Tensor

from ..errors import InputError

MAX_COLUMNS = 30  # classes of a table with one column each
NEIGHBOURS = 5
MAX_LABELS = 100  # classes whose names fit beside a picture


def class_similarity(bank: Tensor) -> Tensor:
    """Correlations of class embeddings (K, D): CoPT's text covariance with a diagonal of 1.

    Returns:
        (K, K) float32 in [-1, 1]; NaN beside a class whose embedding is constant.
    """
    return torch.corrcoef(bank).reshape(len(bank), len(bank))


def similarity_table(bank: Tensor, class_names: Sequence[str]) -> str:
    """The correlations as text; of more than 30 classes the nearest ones of each.

    Args:
        bank: (K, D) float.
        class_names: K names.
    """
    correlation = class_similarity(bank)
    if len(bank) > MAX_COLUMNS:
        return _neighbour_table(correlation, class_names)
    rows = [
        [index, name, *(f"{value:.2f}" for value in row)]
        for index, (name, row) in enumerate(zip(class_names, correlation.tolist(), strict=True))
    ]
    return tabulate(rows, headers=["", "class", *range(len(bank))], disable_numparse=True)


def _neighbour_table(correlation: Tensor, class_names: Sequence[str]) -> str:
    others = correlation.clone().fill_diagonal_(-torch.inf)
    values, places = others.topk(NEIGHBOURS, dim=1)
    rows = [
        [
            index,
            class_names[index],
            *(f"{class_names[k]} {v:.2f}" for v, k in zip(*row, strict=True)),
        ]
        for index, row in enumerate(zip(values.tolist(), places.tolist(), strict=True))
    ]
    headers = ["", "class", "nearest", *[""] * (NEIGHBOURS - 1)]
    return tabulate(rows, headers=headers, disable_numparse=True)


def draw_similarity(bank: Tensor, class_names: Sequence[str], path: str | Path) -> None:
    """Writes the correlations as a picture, PNG, with the names beside up to 100 classes.

    Args:
        bank: (K, D) float.
        class_names: K names.
        path: file to write.
    Raises:
        InputError: if it cannot be written.
    """
    count = len(bank)
    side = 3.0 + 0.3 * count if count <= MAX_LABELS else 12.0  # inches
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(class_similarity(bank).numpy(), cmap="viridis", vmax=1.0)
    figure.colorbar(image, ax=axes, label="correlation of the text embeddings")
    if count <= MAX_LABELS:
        # a dollar sign would begin a formula
        labels = [name.replace("$", r"\$") for name in class_names]
        axes.set_xticks(range(count), labels, rotation=90)
        axes.set_yticks(range(count), labels)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # letters that no font here has
            figure.savefig(path, format="png", dpi=100)
    except OSError as error:
        raise InputError(f"{path}: cannot write the picture ({error.strerror})") from error
