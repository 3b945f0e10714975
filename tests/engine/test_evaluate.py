import pytest
from detectron2.config import get_cfg

from copt_d2.engine import check_expected_results
from copt_d2.engine.evaluate import format_table
from copt_d2.errors import InputError

SCORES = {"val": {"mIoU": 40.0, "IoU-car": 12.5}, "test": {"mIoU": 55.5}}


def check(*rows):
    cfg = get_cfg()
    cfg.TEST.EXPECTED_RESULTS = list(rows)
    check_expected_results(cfg, SCORES)


def test_results_inside_the_bounds():
    check()
    check(["val", "mIoU", 41, 1], ["val", "IoU-car", 12.0, 0.5], ["test", "mIoU", 55, 0.5])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["val", "mIoU", 42, 1.9], "val mIoU is 40.00, not 42 \\+- 1.9"),
        (["val", "mIoU", 38, 1.9], "val mIoU is 40.00, not 38 \\+- 1.9"),
        (["val", "IoU-bus", 1, 99], "val IoU-bus is nan, not 1 \\+- 99"),
        (["train", "mIoU", 1, 99], "train mIoU is nan"),
    ],
)
def test_results_outside_the_bounds(row, told):
    with pytest.raises(InputError, match=f"^TEST.EXPECTED_RESULTS: {told}"):
        check(["test", "mIoU", 55, 1], row)


def test_table_keeps_a_decimal_and_marks_absent_classes():
    record = {
        "IoU": {"road": 50.0, "car": 7.25, "fence": None},
        "classes_in_mean": ["road", "car"],
        "classes_left_out": ["fence"],
        "mIoU": 28.625,
    }
    rows = [line.split() for line in format_table(record).splitlines()[2:]]
    assert rows == [
        *(["road", "50.0"], ["car", "7.2"], ["fence", "-", "no"]),
        ["mean", "of", "2", "28.6"],
    ]
