"""The intervals against scipy's, pROC's formula written out, and simulation: what they promise is that they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from clipfake.measures.intervals import auc_interval, mean_interval, share_interval


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_without_groups_a_share_has_wilsons_interval(hits):
    expected = binomtest(sum(hits), len(hits)).proportion_ci(0.95, method="wilson")
    found = share_interval(np.array(hits), np.arange(len(hits)))
    assert found == pytest.approx((expected.low, expected.high))


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 5))
def test_copies_of_an_item_add_nothing(hits, copies):
    """Each item `copies` times as one unit: the items once, a little wider (m / (m - 1)), never narrower."""
    alone = share_interval(np.array(hits), np.arange(len(hits)))
    low, high = share_interval(np.repeat(hits, copies), np.repeat(np.arange(len(hits)), copies))
    assert low <= alone[0] + 1e-12
    assert high >= alone[1] - 1e-12
    assert high - low <= (alone[1] - alone[0]) * len(hits) / (len(hits) - 1) + 1e-9


def test_units_that_are_alike_inside_widen_and_the_interval_covers():
    random = np.random.default_rng(0)
    unit = np.repeat(np.arange(60), 5)
    covered = {"units": 0, "items": 0}
    for _ in range(1000):
        hits = random.random(300) < np.repeat(random.beta(2, 2, 60), 5)
        for name, of in (("units", unit), ("items", np.arange(300))):
            low, high = share_interval(hits, of)
            covered[name] += low <= 0.5 <= high
    assert 930 <= covered["units"] <= 970
    assert covered["items"] < 900  # what ignoring the units would promise


def delong(y, decision):
    """Variance of the AUC by DeLong et al. 1988, from all pairs."""
    fakes, reals = decision[y == 1], decision[y == 0]
    won = (fakes[:, None] > reals) + 0.5 * (fakes[:, None] == reals)
    return won.mean(), won.mean(axis=1).var(ddof=1) / len(fakes) + won.mean(axis=0).var(ddof=1) / len(reals)


def test_the_auc_has_delongs_interval_on_the_logit_scale():
    random = np.random.default_rng(1)
    y = np.arange(80) % 2
    decision = np.round(random.normal(size=80) + y, 1)  # with ties
    auc, variance = delong(y, decision)
    assert auc == pytest.approx(roc_auc_score(y, decision))
    ends = np.log(auc / (1 - auc)) + norm.ppf([0.025, 0.975]) * np.sqrt(variance) / (auc * (1 - auc))
    assert auc_interval(y, decision, np.arange(80)) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))


def test_the_aucs_interval_covers_with_scenes_that_hold_both_classes():
    """Scenes whose decisions are shifted together: a real and a fake each, and further reals."""
    random = np.random.default_rng(2)
    unit = np.tile(np.arange(80), 3)
    y = np.repeat([0, 0, 1], 80)
    truth = norm.cdf(1 / np.sqrt(2 * (1 + 1)))  # means 1 apart, variance 1 + 1 each
    covered = 0
    for _ in range(1000):
        low, high = auc_interval(y, random.normal(size=240) + random.normal(size=80)[unit] + y, unit)
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_a_perfect_auc_is_not_certain_and_too_few_units_say_nothing():
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    low, high = auc_interval(y, y * 1.0, np.arange(7))
    assert (low, high) == pytest.approx(tuple(binomtest(3, 3).proportion_ci(0.95, method="wilson")))
    assert auc_interval(y, y * 1.0, np.array([0, 1, 2, 3, 4, 4, 4])) == (None, None)
    assert share_interval(np.array([], bool), np.array([])) == (None, None)
    assert mean_interval(1.0, (None, None), 0.5, (0.4, 0.6)) == (None, None)


def test_balanced_accuracy_by_square_and_add():
    # Worked by hand: ends 0.1 and 0.05 below, 0.05 and 0.15 above.
    low, high = mean_interval(0.9, (0.8, 0.95), 0.6, (0.55, 0.75))
    assert low == pytest.approx(0.75 - np.sqrt(0.1**2 + 0.05**2) / 2)
    assert high == pytest.approx(0.75 + np.sqrt(0.05**2 + 0.15**2) / 2)
