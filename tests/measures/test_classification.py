"""The table of a confusion matrix agrees with scikit-learn's, and its intervals are what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from clipfake.measures.classification import MEASURES, classification

counts = st.integers(1, 400)


def labels(tn, fp, fn, tp):
    return np.repeat([0, 0, 1, 1], [tn, fp, fn, tp]), np.repeat([0, 1, 0, 1], [tn, fp, fn, tp])


@settings(deadline=None, max_examples=40)
@given(counts, counts, counts, counts)
def test_values_are_scikit_learns_and_lie_in_their_intervals(tn, fp, fn, tp):
    table = classification({"tn": tn, "fp": fp, "fn": fn, "tp": tp})
    assert tuple(table) == MEASURES
    y, called = labels(tn, fp, fn, tp)
    assert table["accuracy"]["value"] == pytest.approx(accuracy_score(y, called))
    for average in (None, "macro"):
        found = precision_recall_fscore_support(y, called, average=average)[:3]
        for measure, values in zip(("precision", "recall", "F1"), found, strict=True):
            kinds = ("macro",) if average else ("real", "fake")
            for kind, value in zip(kinds, np.atleast_1d(values), strict=True):
                assert table[f"{measure} {kind}"]["value"] == pytest.approx(value)
    for cell in table.values():
        assert 0 <= cell["low"] <= cell["value"] + 1e-9
        assert cell["value"] - 1e-9 <= cell["high"] <= 1


def test_shares_have_wilsons_interval_and_f1_that_of_resamples():
    table = classification({"tn": 1423, "fp": 98, "fn": 84, "tp": 1438})  # the source's CycleGAN test part
    assert (table["accuracy"]["low"], table["accuracy"]["high"]) == pytest.approx((0.9312, 0.9481), abs=5e-5)
    interval = binomtest(1438, 1438 + 98).proportion_ci(0.95, "wilson")
    assert (table["precision fake"]["low"], table["precision fake"]["high"]) == pytest.approx(
        (interval.low, interval.high)
    )
    # Delta method: at this size F1's interval is nearly normal and as wide as accuracy's.
    width = table["F1 macro"]["high"] - table["F1 macro"]["low"]
    assert width == pytest.approx(table["accuracy"]["high"] - table["accuracy"]["low"], rel=0.08)


def test_what_is_undefined_is_none():
    table = classification({"tn": 5, "fp": 0, "fn": 3, "tp": 0})
    assert table["precision fake"] == {"value": None, "low": None, "high": None}
    assert table["recall fake"]["value"] == 0
    assert table["precision macro"]["value"] is None
    assert all(cell["value"] is None for cell in classification({"tn": 0, "fp": 0, "fn": 0, "tp": 0}).values())
