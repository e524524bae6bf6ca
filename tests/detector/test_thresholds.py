"""A threshold is the smallest that keeps its promise; without enough reals there is none; verdicts follow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.detector.thresholds import Threshold, fit_thresholds, verdicts


@settings(deadline=None)
@given(st.lists(st.integers(-5, 40).map(float), min_size=200, max_size=400))
def test_it_is_the_smallest_that_keeps_the_rate_also_with_ties(reals):
    decisions = np.array(reals)
    (threshold,) = fit_thresholds(decisions, [0.05])
    t = threshold.decision
    assert (decisions >= t).mean() <= 0.05
    assert (decisions >= np.nextafter(t, -np.inf)).mean() > 0.05
    assert threshold.reals == len(reals)


@pytest.mark.parametrize(
    ("reals", "rates"),
    [
        (0, []),
        (199, []),
        (200, [0.05]),
        (999, [0.05]),
        (1000, [0.05, 0.01]),
        (9999, [0.05, 0.01]),
        (10_000, [0.05, 0.01, 0.001]),
    ],
)
def test_below_ten_over_the_rate_it_is_refused(reals, rates):
    assert [threshold.fpr for threshold in fit_thresholds(np.arange(reals))] == rates


@pytest.mark.parametrize("reals", range(1000, 6000, 100))
def test_a_whole_number_of_reals_is_not_lost_to_rounding(reals):
    threshold = fit_thresholds(np.arange(reals), [0.01])[0]
    assert (np.arange(reals) >= threshold.decision).sum() == reals // 100


def rules(**decisions):
    rates = {"five": 0.05, "one": 0.01, "tenth": 0.001}
    return [Threshold(rates[name], value, 10_000) for name, value in decisions.items()]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (rules(), ["real", "real", "fake", "fake", "fake"]),
        (rules(five=1.0), ["real", "real", "unsure", "unsure", "unsure"]),
        (rules(five=1.0, one=2.0), ["real", "real", "unsure", "fake", "fake"]),
        (rules(five=1.0, one=2.0, tenth=3.0), ["real", "real", "unsure", "unsure", "fake"]),
        (rules(five=-1.0, one=2.0), ["unsure", "unsure", "unsure", "fake", "fake"]),
    ],
)
def test_verdicts(thresholds, expected):
    decisions = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert verdicts(decisions, thresholds).tolist() == expected
    assert verdicts(decisions, thresholds[::-1]).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.integers(200, 12_000))
def test_a_higher_decision_is_never_called_less_fake(decisions, reals):
    thresholds = fit_thresholds(np.random.default_rng(reals).normal(size=reals))
    order = [["real", "unsure", "fake"].index(word) for word in verdicts(np.sort(decisions), thresholds)]
    assert order == sorted(order)
