import json
import math

from copt_d2.evaluation.record import format_table, score_fields

NAMES = ["road", "car"]


def scores(mean, road, car, images):
    flat = {"mIoU": mean, "aAcc": 80.0, "IoU-road": road, "IoU-car": car, "images": images}
    return {**flat, "Acc-road": 90.0, "Acc-car": math.nan}


RESULTS = {
    "sem_seg": scores(55.123456, 60.25, math.nan, 5),
    "means": {"2": 55.123456, "1": 60.25},
    "conditions": {
        "fog": scores(50.0, 40.0, 60.0, 2),
        "night": scores(math.nan, math.nan, math.nan, 3),
    },
}


def test_scores_become_plain_values():
    fields = score_fields(RESULTS, NAMES)
    assert fields == {
        "labelled": True,
        "mIoU": 55.1235,
        "aAcc": 80.0,
        "IoU": {"road": 60.25, "car": None},
        "Acc": {"road": 90.0, "car": None},
        "means": {"2": 55.1235, "1": 60.25},
        "conditions": {
            "fog": {"mIoU": 50.0, "IoU": {"road": 40.0, "car": 60.0}, "images": 2},
            "night": {"mIoU": None, "IoU": {"road": None, "car": None}, "images": 3},
        },
    }
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields


def test_a_set_without_conditions_has_no_such_field():
    fields = score_fields({"sem_seg": RESULTS["sem_seg"]}, NAMES)
    assert "conditions" not in fields
    assert "means" not in fields


def test_a_set_without_labels_has_no_scores():
    nothing = {"road": None, "car": None}
    assert score_fields(None, NAMES) == {
        "labelled": False,
        **{"mIoU": None, "aAcc": None, "IoU": nothing, "Acc": nothing},
    }


def test_the_table_has_a_column_for_each_condition():
    record = {**score_fields(RESULTS, NAMES), "classes_in_mean": ["road", "car"], "images": 5}
    header, _, *rows = (line.split() for line in format_table(record).splitlines())
    assert header == ["class", "IoU", "%", "fog", "night", "in", "mean"]
    assert rows == [
        ["road", "60.2", "40.0", "-"],
        ["car", "-", "60.0", "-"],
        ["mean", "of", "2", "55.1", "50.0", "-"],
        ["mean", "of", "1", "60.2"],
        ["images", "5", "2", "3"],
    ]
