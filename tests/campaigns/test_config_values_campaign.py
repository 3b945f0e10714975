"""The short form of the campaign over config values."""

from collections import Counter

import config_values
import pytest


@pytest.mark.long
@pytest.mark.slow
def test_odd_values_end_in_one_line_or_in_a_run():
    outcomes = config_values.campaign()
    assert config_values.failures(outcomes) == [], config_values.report(outcomes)
    counts = Counter(outcome.what for _, outcome in outcomes)
    assert counts["refused"] > 300
    assert counts["ran"] > 10
