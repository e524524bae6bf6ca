"""What is left under each condition, against scikit-learn and cases written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from clipfake.evaluation.robustness_tables import sweep
from clipfake.images.conditions.conditions import choose
from clipfake.measures.thresholds import Threshold

CONDITIONS = choose(["jpeg-50", "resize-0.5-lanczos"])
THRESHOLDS = (Threshold(0.05, 1.0, 300), Threshold(0.01, 2.0, 1200))


def test_a_case_written_out() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    clean = [-3, -2, 0.5, 1.5, 2.5, 3.0]
    jpeg = [-3, -2, -0.5, 2.5, 0.5, -1.0]
    rows = sweep(y, np.array([clean, jpeg, clean]).T, np.arange(6), CONDITIONS, THRESHOLDS)
    assert [row["condition"] for row in rows] == ["clean", "jpeg-50", "resize-0.5-lanczos"]
    assert [row["option"] for row in rows] == ["", "", "lanczos"]
    first, second, third = rows
    assert (first["real_accuracy"], first["fake_accuracy"], first["balanced_accuracy"]) == (0.5, 1.0, 0.75)
    assert (second["real_accuracy"], second["fake_accuracy"], second["balanced_accuracy"]) == (0.75, 0.5, 0.625)
    assert first["at_thresholds"] == {"0.05": {"tpr": 1.0, "fpr": 0.25}, "0.01": {"tpr": 1.0, "fpr": 0.0}}
    assert second["at_thresholds"] == {"0.05": {"tpr": 0.0, "fpr": 0.25}, "0.01": {"tpr": 0.0, "fpr": 0.25}}
    # Verdicts clean: real real real unsure fake fake; JPEG: real real real fake real real.
    assert (second["flips"], second["to_real"], second["to_fake"]) == (0.5, 1.0, 0.25)
    assert second["balanced_drop"] == 0.125
    assert first["auc_drop"] == first["flips"] == third["flips"] == third["balanced_drop"] == 0
    assert third["balanced_drop_low"] == third["balanced_drop_high"] == 0
    # Lost: fakes 0 and 1, reals 0, 0, -1, 0: variances over n - 1 of 1/2 and 1/4, so (1/4 + 1/16)^(1/2) / 2.
    half = 1.959964 * np.sqrt(0.5 / 2 + 0.25 / 4) / 2
    assert second["balanced_drop_high"] - 0.125 == pytest.approx(half)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), *[st.floats(-3, 3).map(lambda value: round(value, 1))] * 3),
        min_size=2,
        max_size=40,
    ).filter(lambda rows: len({row[0] for row in rows}) == 2)
)
def test_the_figures_are_scikit_learns(rows: list[tuple[int, float, float, float]]) -> None:
    y, decision = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    for column, row in enumerate(sweep(y, decision, np.arange(len(y)), CONDITIONS, THRESHOLDS)):
        called = decision[:, column] > 0
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, called))
        assert row["fake_accuracy"] == pytest.approx(recall_score(y, called))
        assert row["auc"] == pytest.approx(roc_auc_score(y, decision[:, column]))
        assert row["balanced_drop"] == pytest.approx(
            balanced_accuracy_score(y, decision[:, 0] > 0) - balanced_accuracy_score(y, called)
        )
        assert row["at_thresholds"]["0.05"]["tpr"] == pytest.approx(recall_score(y, decision[:, column] >= 1))
        for share in ("flips", "to_real", "to_fake"):
            assert 0 <= row[share] <= 1


@pytest.mark.parametrize("size", [1, 10])
def test_the_interval_of_the_drop_covers_it_also_in_units(size: int) -> None:
    """Items of a unit share their decision's noise; a unit holds reals and fakes."""
    random, covered, n = np.random.default_rng(0), 0, 300
    unit = np.arange(n) // size
    y = (np.arange(n) % 3 == 0).astype(int)
    for _ in range(400):
        signal = np.where(y == 1, 1.0, -1.0)
        shared = (1 if size == 1 else np.where(y == 1, 1, -1)) * random.normal(size=n)[unit]
        clean = signal + shared
        now = 0.5 * signal + shared  # P(right) falls from Phi(1) to Phi(0.5)
        row = sweep(y, np.stack([clean, now], axis=1), unit, CONDITIONS[:1], ())[1]
        covered += row["balanced_drop_low"] <= 0.8413447 - 0.6914625 <= row["balanced_drop_high"]
    assert 0.9 < covered / 400 < 0.98


def test_a_class_of_one_unit_has_no_interval() -> None:
    row = sweep(np.array([0, 0, 1]), np.array([[-1.0, -1, 1]] * 2).T, np.array([0, 1, 1]), CONDITIONS[:1], ())[1]
    assert row["balanced_drop_low"] is row["balanced_drop_high"] is None


def test_without_thresholds_every_verdict_is_unsure_and_none_flips() -> None:
    y = np.array([0, 1])
    row = sweep(y, np.array([[-1.0, 1.0], [1.0, -1.0]]), np.arange(2), CONDITIONS[:1], ())[1]
    assert (row["flips"], row["to_real"], row["to_fake"], row["at_thresholds"]) == (0, 0, 0, {})
