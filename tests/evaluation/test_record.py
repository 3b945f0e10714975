import json
import math

from copt_d2.evaluation.record import format_table, mean_in_words, score_fields, with_left_out

NAMES = ["road", "car"]


def scores(mean, road, car, images):
    flat = {"mIoU": mean, "aAcc": 80.0, "IoU-road": road, "IoU-car": car, "images": images}
    return {**flat, "Acc-road": 90.0, "Acc-car": math.nan}


RESULTS = {
    "sem_seg": scores(55.123456, 60.25, math.nan, 5),
    "means": {"2": 55.123456, "1": 60.25},
    "means_cover": {"2": 1, "1": 1},
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
        "means_cover": {"2": 1, "1": 1},
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
    record = with_left_out(
        {**score_fields(RESULTS, NAMES), "classes_in_mean": ["road", "car"], "images": 5}
    )
    header, _, *rows = (line.split() for line in format_table(record).splitlines())
    assert header == ["class", "IoU", "%", "fog", "night", "in", "mean"]
    assert rows == [
        ["road", "60.2", "40.0", "-"],
        ["car", "-", "60.0", "-"],
        ["mean", "of", "1", "55.1", "50.0", "-"],
        ["classes", "in", "it", "1", "2", "0"],
        ["mean", "of", "1", "60.2"],
        ["images", "5", "2", "3"],
    ]


def record_of(iou, in_mean, **fields):
    record = {"labelled": True, "IoU": iou, "mIoU": 50.0, "classes_in_mean": in_mean, **fields}
    return with_left_out(record)


def test_a_mean_says_which_classes_it_leaves_out_and_why():
    iou = {"road": 40.0, "car": None, "sky": 60.0, "bus": 10.0, "fence": None}
    record = record_of(iou, ["road", "car", "sky"])
    assert record["classes_left_out"] == ["car", "bus", "fence"]
    assert mean_in_words(record) == (
        "mIoU 50.0, the mean of 2 of 5 classes (left out, not in the mean: bus, fence; without a "
        "pixel: car)"
    )
    assert "mean of 2 " in format_table(record)


def test_a_mean_over_all_classes_leaves_none_out():
    record = record_of({"road": 40.0, "car": 60.0}, ["road", "car"])
    assert record["classes_left_out"] == []
    assert mean_in_words(record) == "mIoU 50.0, the mean of 2 of 2 classes"


def test_a_mean_over_nothing():
    record = record_of({"road": None, "car": 3.0}, ["road"], mIoU=None)
    assert record["classes_left_out"] == ["road", "car"]
    assert mean_in_words(record).startswith("mIoU -, the mean of 0 of 2 classes (left out, ")


def test_each_condition_has_its_own_classes():
    record = with_left_out({**score_fields(RESULTS, NAMES), "classes_in_mean": NAMES})
    assert record["classes_left_out"] == ["car"]
    left_out = {name: part["classes_left_out"] for name, part in record["conditions"].items()}
    assert left_out == {"fog": [], "night": ["road", "car"]}


def test_subsets_say_how_many_of_their_classes_occur():
    fields = {"means": {"3": 41.0, "2": 40.0}, "means_cover": {"3": 2, "2": 1}}
    record = record_of({"road": 40.0, "car": None, "sky": 42.0}, ["road", "car", "sky"], **fields)
    assert [line.split() for line in format_table(record).splitlines()[-2:]] == [
        ["mean", "of", "2", "50.0"],
        ["mean", "of", "1", "of", "2", "40.0"],
    ]


def test_without_labels_there_is_no_mean_to_leave_a_class_out_of():
    record = with_left_out({**score_fields(None, NAMES), "classes_in_mean": ["road"]})
    assert record["classes_left_out"] == []
