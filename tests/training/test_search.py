"""The search finds what scikit-learn's grid search finds, twice the same, with every unit in one fold."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.svm import SVC

from clipfake.training import search
from clipfake.training.search import COSTS, GAMMAS, search_svm


def rings(n=400, seed=0):
    """Two rings that only a narrow kernel tells apart; four rows a unit."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    angle = random.uniform(0, 2 * np.pi, n)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + 0.25 * y)[:, None] + random.normal(size=(n, 2)) * 0.09
    return x.astype(np.float32), y, [f"g{i % 3}" for i in range(n)], [f"u{i // 4}" for i in range(n)]


@pytest.mark.slow
def test_it_is_scikit_learns_grid_search_over_the_same_folds(warm_ray):
    x, y, generators, units = rings()
    said = []
    found = search_svm(x, y, generators, units, seed=3, say=said.append)
    scale = 1 / (2 * x.astype(np.float64).var())
    grid = GridSearchCV(
        SVC(class_weight="balanced"),
        {"C": COSTS, "gamma": [factor * scale for factor in GAMMAS]},
        scoring="roc_auc",
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=3),
    ).fit(x, y, groups=units)
    expected = grid.cv_results_["mean_test_score"]
    # The one-standard-error rule, from scikit-learn's own table (its deviation divides by n).
    error = grid.cv_results_["std_test_score"][grid.best_index_] / np.sqrt(5 - 1)
    enough = np.flatnonzero(expected >= expected.max() - error)
    smoothest = min((grid.cv_results_["params"][i] for i in enough), key=lambda p: (p["C"], p["gamma"]))
    assert (found.C, found.gamma) == (smoothest["C"], pytest.approx(smoothest["gamma"], rel=1e-5))
    assert 1 < len(enough) < 9
    np.testing.assert_allclose([entry["auc"] for entry in found.tried], expected, atol=1e-4)
    assert len(set(expected.round(3))) > 3
    assert "5-fold" in said[0]
    assert search_svm(x, y, generators, units, seed=3, say=said.append) == found
    assert search_svm(x, y, generators, units, seed=3, say=said.append, on_cluster=False) == found


@pytest.mark.slow
def test_a_large_part_is_searched_on_a_balanced_subset(warm_ray, monkeypatch):
    monkeypatch.setattr(search, "MAX_ROWS", 100)
    monkeypatch.setattr(search, "COSTS", (1.0,))
    assert search_svm(*rings()).rows == 100
