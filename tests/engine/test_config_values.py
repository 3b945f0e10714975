"""What values of config keys are taken, kind by kind, and that every key has a row."""

import math

import pytest
from detectron2.config import get_cfg

from copt_d2 import add_copt_config
from copt_d2.engine.config_keys import dotted_values
from copt_d2.engine.config_values import TABLE, check_values, kinds, lists, value_of
from copt_d2.errors import InputError

NO_NUMBERS = (None, "1", "", True, [], (1,), {}, math.nan, math.inf, -math.inf, 10**400, 1e308)
NO_WHOLES = (*NO_NUMBERS, 1.0, 0.5, 2**31)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_copt_config(cfg)
    return cfg


def set_value(cfg, key, value):
    """Without yacs' check of the type, which a Python caller does not meet either."""
    section, _, name = key.rpartition(".")
    dict.__setitem__(value_of(cfg, section) if section else cfg, name, value)


def keys_of_ours():
    """What ``add_copt_config`` adds, or gives another default than detectron2's."""
    ours = get_cfg()
    stock = dict(dotted_values(ours))
    add_copt_config(ours)
    return [key for key, value in dotted_values(ours) if key not in stock or value != stock[key]]


def test_every_key_of_ours_has_a_row():
    assert set(keys_of_ours()) - set(TABLE) == set()


def test_every_row_is_of_a_key_and_takes_its_default(cfg):
    known = dict(dotted_values(cfg))
    assert set(TABLE) <= set(known)
    check_values(cfg)


@pytest.mark.parametrize("key", sorted(TABLE))
def test_a_key_takes_no_null_and_no_table(cfg, key):
    for value in (None, {}, {"A": 1}, object):
        set_value(cfg, key, value)
        with pytest.raises(InputError) as raised:
            check_values(cfg)
        assert str(raised.value).startswith(key)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (kinds.switch(), (True, False), (None, 0, 1, "True", [])),
        (kinds.whole(2), (2, 2**31 - 1), (*NO_WHOLES, 1, -5)),
        (kinds.whole(0, 5), (0, 5), (*NO_WHOLES, -1, 6)),
        (kinds.whole(16, 64, multiple_of=16), (16, 64), (*NO_WHOLES, 0, 8, 24, 80)),
        (kinds.number(), (0, 0.0, 1e-300, 1e6), (*NO_NUMBERS, -1, -1e-300)),
        (kinds.number(above=True), (1e-300, 3), (*NO_NUMBERS, 0, 0.0, -0.0)),
        (kinds.fraction(), (0, 0.5, 1), (*NO_NUMBERS, -0.1, 1.1)),
        (kinds.fraction(below=True), (0, 0.999), (*NO_NUMBERS, 1, 1.0)),
        (
            kinds.text("a name"),
            ("a", "é 🙂", "क्\u200dष", "道路"),
            (None, 1, "", " ", "a\nb", "\0", []),
        ),
        (
            kinds.path(),
            ("", "a/b c", "\udc80", "é"),
            (None, 1, " ", "a\0", "a" * 256, "a/" * 3000, "a\nb"),
        ),
        (kinds.path(empty=False), (".",), ("", None, "\ud800")),
        (kinds.one_of("a", "b"), ("a", "b"), (None, "", "c", "ab", ["a"], 1)),
        (lists.names("loss"), ((), [], ["a"], ("a", "b")), (None, "ab", ("a", "a"), [""], [1])),
        (lists.names("loss", empty=False), (["a"],), ((), [], None)),
        (
            lists.names("x", lambda: "ab"),
            ((), ["b", "a"]),
            (["c"], "a", [None], [["a"]], ["a"] * 2),
        ),
        (
            lists.pixels("height", "width"),
            ((1, 65536), [512, 512]),
            (None, (), (1,), (1, 2, 3), (0, 5), (-1, 5), (5.0, 5), (True, 5), (10**9, 5), "12", 5),
        ),
        (lists.pixels("w", "h", empty=True), ((), [], (3, 4)), ((0, 0), None, "")),
        (lists.pixels(*"abcd", low=0), ((0, 0, 0, 0),), ((), (0, 0, 0), (0, 0, 0, -1))),
        (
            lists.maps_up_to("c"),
            ((), ["c"], ["a", "c"]),
            (None, ["a"], ["c", "a"], ["c", "c"], "c"),
        ),
        (
            lists.numbers(3),
            ((0, -1.5, 3), [1, 2, 3]),
            (None, (), (127.0,), (1, 2, math.nan), (1, 2, math.inf), (1, 2, "3"), (1, 2, None)),
        ),
        (lists.numbers(3, 0, above=True), ((1, 2, 3),), ((1, 0, 3), (1, 2, -3))),
        (lists.wholes(1, 9), ((1,), [9, 9]), (None, (), (0,), (10,), (1.5,), 3, "12")),
        (
            lists.interval(0.5, 2),
            ((0.5, 2), (1, 1)),
            (None, (), (1,), (2, 1), (0, 1), (1, 3), (math.nan, 1), (1, math.nan), ("1", 2)),
        ),
        (
            lists.train_ids(),
            ((), [0, 5]),
            (None, "5", [-1], [1, 1], ["car"], [1.0], [True], [254], [[1]], [math.nan]),
        ),
        (
            lists.class_names(),
            ([], ["car", ["person", "pedestrian"]]),
            (None, "car", ["car", "car"], ["car", ["bus", "car"]], [""], [[]], [1], [["a", 1]]),
        ),
        (
            lists.expected_results(),
            ([], [["set", "mIoU", 45, 0.5]]),
            (None, [[]], [["set", "mIoU", 45]], [["set", "mIoU", math.nan, 1]], ["set"]),
        ),
    ],
)
def test_what_a_kind_takes(kind, good, bad):
    for value in good:
        assert kind.fault(value) is None, value
    for value in bad:
        fault = kind.fault(value)
        assert fault is not None, value
        assert "\n" not in fault
        assert len(fault) < 300
        fault.encode()  # can be written to a terminal


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("MODEL.PIXEL_MEAN", [127.0], "is [127.0]; it must be a list of 3 finite numbers"),
        ("MODEL.COPT.WEIGHT", -1.0, "is -1.0; it must be 0 or more"),
        ("MODEL.COPT.WEIGHT", math.nan, "is nan; it must be a number, 0 or more"),
        ("MODEL.COPT.DECAY", 1.0, "is 1.0; it must be at least 0 and less than 1"),
        ("SOLVER.MAX_ITER", 1.5, "is 1.5; it must be a whole number, 1 or more"),
        ("SOLVER.MAX_ITER", 10**30, f"is {10**30}; it must be between 1 and 2147483647"),
        ("SOLVER.BASE_LR", 1e308, "is 1e+308; it must be at most 10"),
        ("MODEL.HRDA.CROP_SIZE", 100, "is 100; it must be a multiple of 16"),
        ("MODEL.UDA.MASK_RATIO", 2, "is 2; it must be between 0 and 1"),
        ("DATASETS.TEST", ("a", "b", "a"), "('a', 'b', 'a') names a data set twice; remove one"),
        (
            "DATASETS.TRAIN",
            "set",
            "is 'set'; it must be a list of names of data sets, each once; or",
        ),
        (
            "MODEL.UDA.PHASES",
            ("sauce",),
            "is ('sauce',); it must be a list of some of 'source', 'mixed', 'masked', each once",
        ),
        ("MODEL.BACKBONE.NAME", "x", "'x' is not registered; there are: build_mit_backbone"),
        ("OUTPUT_DIR", "x" * 300, f"is '{'x' * 96}...; it must be the path of a folder"),
    ],
)
def test_what_is_said(cfg, key, value, said):
    set_value(cfg, key, value)
    with pytest.raises(InputError) as raised:
        check_values(cfg)
    assert str(raised.value).startswith(f"{key} {said}")


def test_a_number_that_python_does_not_print(cfg):
    set_value(cfg, "SEED", 10**5000)
    with pytest.raises(InputError, match="SEED is an int too long to be shown; it must be between"):
        check_values(cfg)
