"""The blocked linear SVM minimises the objective that it states, whatever the blocks."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from clipfake.detector.classifiers import linear_solver
from clipfake.detector.classifiers.linear_solver import fit_linear


def problem(seed, n=700, m=6):
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.2).astype(np.int8)
    return (random.normal(size=(n, m)) * np.logspace(0, -2, m) + 0.4 * y[:, None]).astype(np.float32), y


def objective(x, y, C, w, b):
    s = 2.0 * y - 1
    c = C * len(y) / 2 / np.where(y == 1, y.sum(), len(y) - y.sum())
    return 0.5 * w @ w + (c * np.maximum(0, 1 - s * (x.astype(np.float64) @ w + b)) ** 2).sum()


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_nothing_near_is_better(C):
    x, y = problem(0)
    w, b = fit_linear(lambda start, stop: torch.from_numpy(x[start:stop]), y, C)
    found = objective(x, y, C, w.numpy(), b)
    random = np.random.default_rng(1)
    for size in (1e-1, 1e-2):
        for _ in range(50):
            step = random.normal(size=7) * size
            assert objective(x, y, C, w.numpy() + step[:-1], b + step[-1]) >= found * (1 - 1e-6)


def test_it_is_linear_svc_whose_intercept_costs_nothing():
    x, y = problem(2)
    model = LinearSVC(dual=False, class_weight="balanced", intercept_scaling=1e4, tol=1e-8).fit(x.astype(float), y)
    w, b = fit_linear(lambda start, stop: torch.from_numpy(x[start:stop]), y)
    np.testing.assert_allclose(x @ w.numpy() + b, model.decision_function(x.astype(float)), atol=1e-3)


def test_blocks_do_not_matter(monkeypatch):
    x, y = problem(3)
    whole, one = fit_linear(lambda start, stop: torch.from_numpy(x[start:stop]), y)
    monkeypatch.setattr(linear_solver, "BLOCK", 64)
    asked = []

    def features(start, stop):
        asked.append(stop - start)
        return torch.from_numpy(x[start:stop])

    parts, two = fit_linear(features, y)
    assert max(asked) == 64
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    assert one == pytest.approx(two, abs=1e-4)


def test_classes_that_are_apart_and_columns_of_nothing():
    x = np.zeros((40, 3), np.float32)
    y = (np.arange(40) % 2).astype(np.int8)
    x[:, 0] = 5.0 * y
    w, b = fit_linear(lambda start, stop: torch.from_numpy(x[start:stop]), y, 1e4)
    assert ((x @ w.numpy() + b > 0) == y).all()
    w, b = fit_linear(lambda start, stop: torch.from_numpy(x[start:stop, 1:]), y)
    assert (w.abs().max(), b) == (0, pytest.approx(0))
