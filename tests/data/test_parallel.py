import time

import pytest

from copt_d2.data.parallel import map_in_threads
from copt_d2.errors import InputError


def test_results_are_in_the_order_of_the_items():
    def work(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    assert map_in_threads(work, range(20), 4, "squares") == [i * i for i in range(20)]


def test_after_an_error_nothing_new_begins():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.001)
        if item == 2:
            raise InputError("the third file")

    with pytest.raises(InputError, match="the third file"):
        map_in_threads(work, range(2000), 1, "files")
    assert len(begun) < 1000


def test_progress_is_shown_after_a_second(monkeypatch, capsys):
    # an hour passes between two looks at the clock
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("tqdm.std.time", lambda: next(hours))
    map_in_threads(abs, range(3), 1, "writing train-id maps")
    assert "writing train-id maps: 100%" in capsys.readouterr().err
