"""The paper's numbers as data."""

import numpy as np
import pytest

from copt_d2.data.label_spaces import CITYSCAPES_16, CITYSCAPES_CLASSES
from copt_d2.evaluation.report.paper import load_paper

TABLES = {table.number: table for table in load_paper().tables}


def test_all_nine_are_there():
    assert list(TABLES) == list(range(1, 10))
    assert [len(table.rows) for table in TABLES.values()] == [6, 6, 5, 2, 3, 2, 4, 4, 4]
    for table in TABLES.values():
        assert all(len(row.values) == len(table.columns) for row in table.rows)


def test_columns_are_the_classes_in_their_order():
    assert TABLES[1].classes == TABLES[3].classes == list(CITYSCAPES_CLASSES)
    assert TABLES[2].classes == [CITYSCAPES_CLASSES[k] for k in CITYSCAPES_16]
    assert TABLES[4].columns == ["rain", "snow", "fog", "night", "all"]
    assert [n for n, table in TABLES.items() if table.is_ablation] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_classes_have_the_printed_mean(number):
    wrong = [
        row.name
        for row in TABLES[number].rows
        if abs(np.mean(row.values[:-1]) - row.values[-1]) > 0.055  # both sides are rounded
    ]
    assert wrong == (["PiPa (HRDA)"] if number == 2 else [])


def test_flags():
    retrained = {n: [r.name for r in t.rows if r.retrained] for n, t in TABLES.items()}
    assert {n: names for n, names in retrained.items() if names} == {
        **{1: ["MIC"], 2: ["PiPa (HRDA)"], 3: ["MIC"], 4: ["MIC"], 7: ["MIC"]}
    }
    noted = {n: [r.name for r in t.rows if r.note] for n, t in TABLES.items()}
    assert {n: names for n, names in noted.items() if names} == {
        **{1: ["SePiCo"], 2: ["SePiCo", "PiPa (HRDA)"], 3: ["SePiCo"]}
    }
    assert any("permuted" in note for note in TABLES[4].notes)


def test_some_numbers():
    copt = {n: next(r for r in TABLES[n].rows if r.name == "CoPT") for n in (1, 2, 3, 4)}
    assert {n: row.values[-1] for n, row in copt.items()} == {1: 76.1, 2: 67.4, 3: 56.2, 4: 63.7}
    assert copt[3].values[15] == 2.96
    assert [list(row.values) for row in TABLES[7].rows] == [
        *([73.8, None], [75.34, 1.54], [74.61, None], [76.08, 1.47])
    ]


@pytest.mark.parametrize(
    ("templates", "row"),
    [
        ("", "LLM generation"),
        ("/lists/published.json", "LLM generation"),  # the authors' own
        ("hand_crafted", "Hand-crafted"),
        ("words.json", None),
    ],
)
def test_whose_templates_belong_to_which_row(templates, row):
    table = next(table for table in load_paper().tables if table.number == 6)
    found = [r.name for r in table.rows if r.describes("CoPT", {"MODEL.COPT.TEMPLATES": templates})]
    assert found == ([row] if row else [])
