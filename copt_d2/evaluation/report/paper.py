"""The tables of the CoPT paper, as package data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "paper.json"


@dataclass(frozen=True)
class PaperRow:
    """A printed row.

    Attributes:
        name: as printed.
        values: percent, one per column; ``None`` = nothing is printed there.
        retrained: the authors of CoPT have trained another work's method anew (†).
        note: what a reader should know about it.
        method: the method of our runs that it is compared with, see `runs.method_of`;
            "" = none is.
        settings: config keys and values of these runs.
        baseline: stands in an ablation for comparison; alone, it does not call for the table.
        gain_over: name of the row that the column "gain" refers to.
    """

    name: str
    values: Sequence[float | None]
    retrained: bool = False
    note: str = ""
    method: str = ""
    settings: Mapping[str, Any] | None = None
    baseline: bool = False
    gain_over: str = ""

    @property
    def title(self) -> str:
        """The name with its marks: † retrained, * with a note."""
        return self.name + "†" * self.retrained + "*" * bool(self.note)

    def describes(self, method: str, config: Mapping[str, Any]) -> bool:
        """Whether a run with this method and these dotted config keys belongs to the row."""
        wanted = self.settings or {}
        return method == self.method and all(fits(config, key, wanted[key]) for key in wanted)


@dataclass(frozen=True)
class PaperTable:
    """A printed table.

    Attributes:
        number: in the paper.
        title: what it shows.
        benchmark: a key of ``Paper.benchmarks``.
        split: of the target, on which the paper reports; "test" = scored by a server.
        columns: class names and "mIoU", or conditions and "all", or "mIoU" and perhaps "gain".
        rows: as printed.
        notes: about the whole table.
    """

    number: int
    title: str
    benchmark: str
    split: str
    columns: Sequence[str]
    rows: Sequence[PaperRow]
    notes: Sequence[str] = ()

    @property
    def classes(self) -> list[str]:
        """Classes whose IoU is printed; [] in tables of means."""
        return list(self.columns[:-1]) if self.columns[-1] == "mIoU" else []

    @property
    def is_ablation(self) -> bool:
        """Whether it compares variants of one method."""
        return self.columns[0] == "mIoU"


@dataclass(frozen=True)
class Paper:
    """All tables, data set patterns of each benchmark, settings of each method."""

    tables: Sequence[PaperTable]
    benchmarks: Mapping[str, Mapping[str, str]]
    published: Mapping[str, Mapping[str, Any]]

    def benchmark_of(self, dataset: str, config: Mapping[str, Any]) -> str | None:
        """The benchmark whose patterns fit the evaluated data set and all of the training."""
        for name, patterns in self.benchmarks.items():
            sources = config.get("DATASETS.TRAIN") or []
            targets = config.get("DATASETS.TARGET") or []
            if (
                fnmatchcase(dataset, patterns["test"])
                and sources
                and all(fnmatchcase(source, patterns["train"]) for source in sources)
                and all(fnmatchcase(target, patterns["target"]) for target in targets)
            ):
                return name
        return None

    def departures(self, method: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Config keys whose values are not those that the paper gives for the method."""
        parts = [""]
        if "source-only" not in method:
            parts.append("DAFormer" if "DAFormer" in method else "HRDA")
        if "CoPT" in method:
            parts.append("CoPT")
        wanted = {key: value for part in parts for key, value in self.published[part].items()}
        return {k: config[k] for k, value in wanted.items() if not fits(config, k, value)}


def fits(config: Mapping[str, Any], key: str, wanted: Any) -> bool:
    """Whether a config has a value; text is a pattern, a list of them suits a text, a key that it
    lacks is as wanted.
    """
    value = config.get(key, wanted)
    if isinstance(wanted, list) and isinstance(value, str):
        return any(fits(config, key, pattern) for pattern in wanted)
    if isinstance(wanted, str):
        return fnmatchcase(str(value).lower(), wanted.lower())
    return bool(value == wanted)


def load_paper() -> Paper:
    """Reads the package data."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    tables = [
        PaperTable(**{**table, "rows": [PaperRow(**row) for row in table["rows"]]})
        for table in content["tables"]
    ]
    return Paper(tables, content["benchmarks"], content["published"])
