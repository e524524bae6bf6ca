"""A threshold is the smallest that keeps its promise; without enough reals there is none; verdicts follow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import expon, norm

from clipfake.errors import UsageError
from clipfake.measures.thresholds import (
    Threshold,
    expected_precision,
    expected_precisions,
    fit_thresholds,
    guaranteed_thresholds,
    rates_at,
    source_rates,
    stricter,
    verdicts,
)


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
        (rules(), ["unsure"] * 5),
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


@pytest.mark.parametrize(("reals", "fpr"), [(200, 0.05), (437, 0.05), (1000, 0.01)])
@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_the_interval_holds_the_true_rate_95_times_in_100(reals, fpr, draw):
    random = np.random.default_rng(reals)
    above = norm.sf if draw == "normal" else expon.sf
    rates, held = [], 0
    for _ in range(2000):
        (threshold,) = fit_thresholds(getattr(random, draw)(size=reals), [fpr])
        true = above(threshold.decision)
        low, high = threshold.fpr_interval()
        rates.append(true)
        held += low <= true <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.02)  # 4 standard deviations
    assert np.mean(rates) == pytest.approx((int(reals * fpr) + 1) / (reals + 1), rel=0.02)


@given(st.integers(200, 100_000), st.sampled_from([0.05, 0.01, 0.001]))
def test_more_reals_narrow_the_interval_around_the_rate(reals, fpr):
    low, high = Threshold(fpr, 0.0, reals).fpr_interval()
    more = Threshold(fpr, 0.0, 4 * reals).fpr_interval()
    assert 0 < low < high < 1
    assert more[1] - more[0] < high - low
    assert low <= (int(fpr * reals + 1e-9) + 1) / (reals + 1) <= high


@settings(deadline=None)
@given(st.integers(1, 999), st.integers(0, 100), st.integers(0, 100))
def test_the_expected_precision_is_that_of_counts(per_mille, caught, alarms):
    fakes, reals = per_mille * caught, (1000 - per_mille) * alarms
    found = expected_precision(per_mille / 1000, caught / 100, alarms / 100)
    assert found is None if fakes + reals == 0 else found == pytest.approx(fakes / (fakes + reals))


def test_one_in_a_hundred_makes_most_calls_false_alarms():
    assert expected_precision(0.01, 0.9, 0.06) == pytest.approx(0.1316, abs=1e-4)
    thresholds = fit_thresholds(np.arange(1000.0))
    y = np.repeat([0, 1], [1000, 50])
    rates = rates_at(thresholds, y, np.concatenate([np.arange(1000.0), np.linspace(900, 1100, 50)]))
    assert rates["0.05"] == {"tpr": pytest.approx(0.74, abs=0.011), "fpr": 0.05, "fakes": 50, "reals": 1000}
    found = expected_precisions(thresholds, rates, 0.01)["0.05"]
    assert found["precision"] == pytest.approx(expected_precision(0.01, rates["0.05"]["tpr"], 0.05))
    assert found["low"] < found["precision"] < found["high"]


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 1.5, float("nan")])
def test_a_prevalence_is_a_share(prevalence):
    with pytest.raises(UsageError, match="--prevalence"):
        expected_precision(prevalence, 0.9, 0.05)


DRAWS = 2_000


def exceeded(draw, above, target):
    """How many of DRAWS thresholds exceed the rate, and how many are given. draw : -> decisions, units, sources"""
    over = given = 0
    for _ in range(DRAWS):
        for threshold in guaranteed_thresholds(*draw(), targets=[target]):
            given += 1
            over += above(threshold.decision) > target
    return over, given


# 5 % of 2,000 and the simulation's own error, three standard deviations.
MOST = 0.05 * DRAWS + 3 * np.sqrt(DRAWS * 0.05 * 0.95)


@pytest.mark.parametrize(("reals", "target"), [(59, 0.05), (400, 0.05), (400, 0.01)])
def test_the_guarantee_holds_for_independent_reals(reals, target):
    random = np.random.default_rng(reals)
    units, sources = np.arange(reals), np.full(reals, "s", object)
    over, given = exceeded(lambda: (random.normal(size=reals), units, sources), norm.sf, target)
    assert given == DRAWS
    assert over <= MOST


@pytest.mark.parametrize("icc", [0.0, 0.8])
def test_the_guarantee_holds_for_reals_that_come_in_units(icc):
    random = np.random.default_rng(7)
    units, sources = np.repeat(np.arange(100), 10), np.full(1_000, "s", object)

    def draw():
        shared, own = random.normal(size=100)[units], random.normal(size=1_000)
        return np.sqrt(icc) * shared + np.sqrt(1 - icc) * own, units, sources

    over, given = exceeded(draw, norm.sf, 0.05)
    assert given == DRAWS
    assert over <= MOST


def test_the_guarantee_is_of_the_mean_over_sources():
    random = np.random.default_rng(9)
    sizes = {"a": 800, "b": 100}  # b's reals score higher, and weigh the same
    sources, shift = np.repeat(list(sizes), list(sizes.values())).astype(object), np.repeat([0.0, 1.5], [800, 100])
    units = np.arange(900)
    over, given = exceeded(
        lambda: (random.normal(size=900) + shift, units, sources), lambda t: (norm.sf(t) + norm.sf(t - 1.5)) / 2, 0.05
    )
    assert given == DRAWS
    assert over <= MOST


@pytest.mark.parametrize(("units", "rates"), [(58, []), (59, [0.05]), (298, [0.05]), (299, [0.05, 0.01]),
                                              (2_994, [0.05, 0.01]), (2_995, [0.05, 0.01, 0.001])])  # fmt: skip
def test_a_threshold_needs_units_and_not_items(units, rates):
    found = guaranteed_thresholds(
        np.arange(3 * units), np.repeat(np.arange(units), 3), np.full(3 * units, None, object)
    )
    assert [threshold.fpr for threshold in found] == rates
    assert all((t.reals, t.units, t.sound) == (3 * units, units, True) for t in found)
    assert guaranteed_thresholds(np.zeros(0), np.zeros(0), np.zeros(0, object)) == ()


def test_small_sources_are_one_and_each_has_its_own_rate():
    source = np.array(["big"] * 100 + ["x"] * 40 + ["y"] * 30, object)
    decision = np.r_[np.linspace(0, 1, 100), np.full(70, 2.0)]
    found = source_rates([Threshold(0.05, 1.5, 170, 120)], decision, np.arange(170), source)["0.05"]
    assert [(row["source"], row["reals"], row["fpr"]) for row in found] == [
        ("(small sources)", 70, 1.0),
        ("big", 100, 0),
    ]
    assert found[1]["low"] == pytest.approx(0, abs=1e-12) and 0 < found[1]["high"] < 0.05


def test_the_stricter_of_two():
    one, two = (Threshold(0.05, 1.0, 400, 300), Threshold(0.01, 2.0, 400, 300)), (Threshold(0.05, 1.5, 400, 200),)
    assert stricter(one, two) == (Threshold(0.05, 1.5, 400, 300),)
