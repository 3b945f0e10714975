"""Markdown: the paper's tables beside our runs, and our runs alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from .paper import Paper, PaperRow, PaperTable, load_paper
from .runs import REPETITION_KEYS, Measurement
from .scores import NOT_MEASURED, Repetitions, difference, group_repetitions, mean_and_spread

HEAD = """# Our runs beside the paper's tables

Percent, differences in points (ours minus paper). `-` = not measured. ± = half the range over runs
that differ only in their seed. † = trained anew by the authors of CoPT. What follows a method after
a semicolon is where a run departs from the paper or, in tables without it, from the other runs.
"""
GENERATED = """## Generated scenes

These runs saw generated street scenes (tools/make_scenes.py), which have the names of the real data
sets. Their numbers cannot be compared with the paper's.
"""
OTHER = """## Other trainings and data sets

The paper has no numbers for these.
"""
FOREIGN = """## Evaluations that are not their run's result

They lie in a run's folder, but are of other weights (a teacher, an earlier checkpoint, another run)
or were made with other settings. No table below has them.
"""
SERVER = (
    "The paper's numbers are of the test server, ours of the split that is named: their "
    "differences say little."
)


def build_report(measurements: Sequence[Measurement], pictures: Sequence[Path] = ()) -> str:
    """The whole report.

    Args:
        measurements: see `read_runs`.
        pictures: picture files, named relative to the report's folder.
    Returns:
        Markdown text.
    """
    paper = load_paper()
    runs = [m for m in measurements if not m.is_other]
    others = [m for m in measurements if m.is_other]
    scored = [m for m in runs if m.is_scored]
    generated = [m for m in scored if m.is_generated]
    real = [m for m in scored if not m.is_generated]
    groups: dict[str | None, list[Measurement]] = {}
    for measurement in real:
        benchmark = paper.benchmark_of(measurement.dataset, measurement.config)
        groups.setdefault(benchmark, []).append(measurement)
    parts = [HEAD, _list_of_runs(runs)]
    if others:
        parts += [FOREIGN, _list_of_others(others)]
    for table in paper.tables:
        parts += _paper_table(table, group_repetitions(groups.get(table.benchmark, [])), paper)
    if groups.get(None):
        parts += [OTHER, *_own_tables(groups[None])]
    if generated:
        parts += [GENERATED, *_own_tables(generated)]
    if pictures:
        parts += ["## Pictures\n", *(f"![{path.stem}]({path.as_posix()})\n" for path in pictures)]
    return "\n".join(parts)


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[Any]], texts: int) -> str:
    """A table whose first ``texts`` columns hold text, the others numbers."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    alignment = [*["left"] * texts, *["right"] * (len(headers) - texts)]
    table = tabulate(cells, headers, "pipe", colalign=alignment, disable_numparse=True)
    return table + "\n"


def _score(measurement: Measurement) -> str:
    mean = measurement.record["mIoU"]
    if not measurement.is_scored:
        return "no labels"
    return mean_and_spread([] if mean is None else [mean])


def _list_of_others(measurements: Sequence[Measurement]) -> str:
    rows = []
    for m in measurements:
        digest = m.weights["digest"].rpartition(":")[2][:8]
        facts = [m.weights["path"], m.weights["part"], digest or None, m.record.get("iteration")]
        known = [NOT_MEASURED if fact is None else fact for fact in facts]
        rows.append([m.folder, *known[:3], m.dataset, known[3], _score(m)])
    headers = ["run's folder", "weights", "part", "digest", "data set", "iteration", "mIoU"]
    return _markdown(headers, rows, texts=5)


def _list_of_runs(measurements: Sequence[Measurement]) -> str:
    rows = []
    for m in measurements:
        commit = m.record.get("commit")
        facts = [m.record.get("seed"), commit and commit[:8], m.record.get("iteration")]
        known = [NOT_MEASURED if fact is None else fact for fact in facts]
        method = "; ".join(filter(None, [m.method, m.unfinished]))
        rows.append([m.folder, method, m.dataset, *known, _score(m)])
    headers = ["run", "method", "data set", "seed", "commit", "iteration", "mIoU"]
    return "## Runs\n\n" + _markdown(headers, rows, texts=3)


def _named(
    name: str, measurement: Measurement, paper: Paper, settings: Mapping[str, Any] | None = None
) -> str:
    """A name with all that is not as in the paper, except what the row itself is about."""
    departures = paper.departures(measurement.method, measurement.config)
    settings = settings or {}
    told = [
        f"{key} {value}"
        for key, value in departures.items()
        # a row that several values suit says which one it is
        if key not in settings or (isinstance(settings[key], list) and isinstance(value, str))
    ]
    return "; ".join([name, *told, *filter(None, [measurement.unfinished])])


def _paper_table(table: PaperTable, groups: Sequence[Repetitions], paper: Paper) -> list[str]:
    """The table and its notes; nothing where no run belongs to it."""
    rows, left = [], list(groups)
    called_for = not table.is_ablation and bool(groups)
    for row in table.rows:
        printed = [NOT_MEASURED if value is None else value for value in row.values]
        where = "paper (test server)" if table.split == "test" else "paper"
        rows.append([row.title, where, *printed])
        for group in (g for g in groups if row.describes(g.method, g.config)):
            rows += _beside(table, row, group, groups, paper)
            left = [other for other in left if other is not group]
            called_for |= not row.baseline
    if not called_for:
        return []
    if not table.is_ablation:
        for group in left:
            name = _named(group.method, group.measurements[0], paper)
            rows.append([name, _origin(table, group), *_cells(table, group)])
    heading = f"## Table {table.number}: {table.title}\n"
    text = _markdown(["method", "numbers of", *table.columns], rows, texts=2)
    return [heading, text, *(f"{note}\n" for note in _notes(table))]


def _notes(table: PaperTable) -> list[str]:
    marked = [f"\\* {row.name}: {row.note}." for row in table.rows if row.note]
    return [*([SERVER] if table.split == "test" else []), *table.notes, *marked]


def _origin(table: PaperTable, group: Repetitions) -> str:
    if table.split != "test":
        return f"ours: {group.names}"
    return f"ours, {group.measurements[0].record.get('split', 'val')} split: {group.names}"


def _cells(table: PaperTable, group: Repetitions) -> list[str]:
    return [mean_and_spread(group.values(column, table.classes)) for column in table.columns]


def _beside(
    table: PaperTable,
    row: PaperRow,
    group: Repetitions,
    groups: Sequence[Repetitions],
    paper: Paper,
) -> list[list[str]]:
    """Our row of a paper's row, and their differences."""
    means = [group.mean(column, table.classes) for column in table.columns]
    cells = _cells(table, group)
    if "gain" in table.columns:
        column = table.columns.index("gain")
        means[column] = _gain(table, row, group, groups)
        cells[column] = mean_and_spread([means[column]] if means[column] is not None else [])
    name = _named(row.name, group.measurements[0], paper, row.settings)
    pairs = zip(means, row.values, strict=True)
    return [
        [name, _origin(table, group), *cells],
        ["", "difference", *(difference(mean, printed) for mean, printed in pairs)],
    ]


def _gain(
    table: PaperTable, row: PaperRow, group: Repetitions, groups: Sequence[Repetitions]
) -> float | None:
    """Our mean over that of our finished runs of the row named ``gain_over``, if these are one
    group.
    """
    groups = [g for g in groups if not g.measurements[0].unfinished]
    if group not in groups:
        return None
    hosts = [other for other in table.rows if other.name == row.gain_over]
    found = [g for host in hosts for g in groups if host.describes(g.method, g.config)]
    means = [g.mean("mIoU", []) for g in (group, *found)]
    return None if len(means) != 2 or None in means else means[0] - means[1]


def _own_tables(measurements: Sequence[Measurement]) -> list[str]:
    """Our numbers alone, a table for each data set."""
    parts = []
    for dataset in dict.fromkeys(m.dataset for m in measurements):
        chosen = [m for m in measurements if m.dataset == dataset]
        record = chosen[0].record
        columns = [*record["IoU"], *record.get("conditions", {}), "mIoU"]
        groups = group_repetitions(chosen)
        rows = []
        for group in groups:
            first = group.measurements[0].record
            classes = first.get("classes_in_mean", [])
            cells = [mean_and_spread(group.values(column, classes)) for column in columns]
            absent = set(first.get("classes_left_out", ()))
            count = len([name for name in classes if name not in absent]) or NOT_MEASURED
            rows.append([_told_apart(group, groups), group.names, *cells, count])
        headers = ["method", "runs", *columns, "classes in mean"]
        parts += [f"### {dataset}\n", _markdown(headers, rows, texts=2)]
    return parts


def _told_apart(group: Repetitions, groups: Sequence[Repetitions]) -> str:
    """The method, with the settings in which others of the same method differ."""
    others = [other.config for other in groups if other.method == group.method]
    told = [
        f"{key} {value}"
        for key, value in group.config.items()
        if key not in REPETITION_KEYS and any(other.get(key, value) != value for other in others)
    ]
    return "; ".join([group.method, *told, *filter(None, [group.measurements[0].unfinished])])
