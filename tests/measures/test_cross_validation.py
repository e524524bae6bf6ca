"""Folds keep units whole; the AUC and its interval are what the sources say; chance on few rows does not refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clipfake.measures.cross_validation import FEWEST, FOLDS, FoldAuc, auc_over_folds, cross_validated, folds


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60)), min_size=1, max_size=200))
def test_no_unit_is_in_two_folds_and_each_fold_has_both_classes(rows):
    y = np.array([label for label, _ in rows])
    unit = [str(name) for _, name in rows]
    fold = folds(y, unit)
    units = [len({name for label, name in rows if label == of}) for of in (0, 1)]
    if fold is None:
        return
    assert min(units) >= FEWEST
    assert len(set(zip(unit, fold, strict=True))) == len(set(unit))
    assert {(of, label) for of, label in zip(fold, y, strict=True)} == {(f, c) for f in range(FOLDS) for c in (0, 1)}


@pytest.mark.parametrize("fewer", [0, 1])
def test_ten_units_of_each_class_are_enough_and_nine_are_not(fewer):
    y = np.repeat([0, 1], [50, FEWEST - fewer])
    assert (folds(y, [str(i) for i in range(len(y))]) is None) == bool(fewer)


def test_a_unit_that_is_most_of_a_class_cannot_be_cut():
    y = np.repeat([0, 1], 100)
    unit = ["big"] * 95 + [str(i) for i in range(105)]
    fold = folds(y, unit)
    assert fold is None or len(set(fold[:95])) == 1


def test_the_interval_is_nadeau_and_bengios_written_out():
    # Five folds of 200 reals and 200 fakes, of which 0, 0, 0, 100, 100 fakes are called real: AUC 1, 1, 1, 0.75, 0.75.
    y = np.tile(np.repeat([0, 1], 200), 5)
    fold = np.repeat(np.arange(5), 400)
    scores = y.astype(float)
    for of in (3, 4):
        scores[np.flatnonzero((fold == of) & (y == 1))[:100]] = 0
    told = auc_over_folds(scores, y, fold)
    assert told.auc == pytest.approx(0.9)
    half = 2.776445 * np.sqrt(0.01875 * (1 / 5 + 1 / 4))  # the folds' variance is 0.075 / 4
    assert (told.low, told.high) == (pytest.approx(0.9 - half, abs=1e-5), 1.0)


def test_folds_that_agree_do_not_make_few_rows_certain():
    # 20 rows, every fold's AUC 0.75: the folds' variance is 0, that of chance 5 x 21 / 1200.
    y, fold = np.tile([0, 0, 1, 1], 5), np.repeat(np.arange(5), 4)
    told = auc_over_folds(np.tile([0.0, 2, 1, 3], 5), y, fold)
    assert told.auc == 0.75
    assert told.low == pytest.approx(0.75 - 1.959964 * np.sqrt(5 * 21 / 1200 * 0.45), abs=1e-5)
    assert auc_over_folds(y.astype(float), y, fold).level == "refuse"  # what tells all of 20 rows is no chance


def test_scores_are_of_rows_the_model_was_not_fitted_on():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 80)), np.arange(60) % 2  # more columns than rows: any model can learn it by heart
    fold = folds(y, [str(i) for i in range(60)])
    told, scores = cross_validated(LogisticRegression(C=1e6), x, y, fold)
    assert told.auc < 0.75 and roc_auc_score(y, LogisticRegression(C=1e6).fit(x, y).predict_proba(x)[:, 1]) == 1
    assert len(scores) == 60


@pytest.mark.parametrize(
    ("told", "level"),
    [
        (FoldAuc(0.54, 0.53, 0.55), "ok"), (FoldAuc(0.56, 0.49, 0.63), "ok"), (FoldAuc(0.56, 0.51, 0.6), "warn"),
        (FoldAuc(0.64, 0.63, 0.65), "warn"), (FoldAuc(0.70, 0.52, 0.9), "warn"), (FoldAuc(0.65, 0.55, 0.7), "refuse"),
        (FoldAuc(0.80, 0.40, 1.0), "ok"),
    ],
)  # fmt: skip
def test_levels(told, level):
    assert told.level == level


def test_chance_on_few_rows_is_never_refused():
    """150 data sets of 40 rows without a shortcut: many a point estimate is above 0.65, no verdict is."""
    random = np.random.default_rng(1)
    y = np.arange(40) % 2
    fold = folds(y, [str(i) for i in range(40)])
    told = [auc_over_folds(random.normal(size=40), y, fold) for _ in range(150)]
    assert sum(t.auc >= 0.65 for t in told) >= 3
    assert sum(t.level == "refuse" for t in told) <= 1
