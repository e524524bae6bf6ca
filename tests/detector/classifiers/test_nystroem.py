"""Nystroem's SVM is scikit-learn's pipeline folded into a KernelSvm, and takes over by rule above 50,000 rows."""

import logging

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from clipfake.detector.classifiers import fitting
from clipfake.detector.classifiers.fitting import fit_linear_baseline, fit_svm, svm_rule
from clipfake.detector.classifiers.nystroem import fit_nystroem


def test_decisions_are_those_of_scikit_learns_pipeline(train, fresh):
    x, y = train
    landmarks = x[::10]
    svm = fit_nystroem(x, y, landmarks, 1.0, 0.5)
    map_ = Nystroem(gamma=0.5, n_components=len(landmarks), random_state=0).fit(landmarks.astype(float))
    linear = LinearSVC(dual=False, class_weight="balanced", intercept_scaling=1e3, tol=1e-8)
    linear.fit(map_.transform(x.astype(float)), y)
    expected = linear.decision_function(map_.transform(fresh[0].astype(float)))
    np.testing.assert_allclose(svm.decision(torch.tensor(fresh[0])), expected, atol=2e-3)
    assert svm.support_vectors.shape == landmarks.shape


def narrow(n, seed, dim=64):
    """As a trained head gives them: nearly all on one line, so that the landmarks' kernel is close to singular."""
    random = np.random.default_rng(seed)
    y = (np.arange(n) % 2).astype(np.int8)
    x = np.outer(random.normal(size=n) * 0.7 + 2 * y - 1, np.full(dim, dim**-0.5))
    x += 0.1 * random.normal(size=(n, dim)) * np.exp(-np.arange(dim) / 8)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def test_a_nearly_singular_kernel_costs_no_digits():
    x, y = narrow(3000, 0)
    svm = fit_nystroem(x, y, x[:400], 1.0, 1.0)
    new, label = narrow(1000, 1)
    single, double = svm.decision(torch.tensor(new)), svm.decision(torch.tensor(new), torch.float64)
    assert float((single - double).abs().max()) < svm.tolerance < 5e-3
    assert roc_auc_score(label, single) > 0.9


def test_the_rule_is_by_rows_and_said(sphere, monkeypatch, caplog):
    monkeypatch.setattr(fitting, "MAX_KERNEL_ROWS", 800)
    x, y = sphere(801, 0)
    generators = np.where(np.arange(801) < 10, "small", "large")
    with caplog.at_level(logging.DEBUG):
        many = fit_svm(x, y, generators=generators, landmarks=100)
        few = fit_svm(x[:800], y[:800])
    assert "Nystroem with 100 landmarks on 801 rows" in caplog.text
    assert "exact RBF SVC on 800 rows" in caplog.text
    assert len(many.dual_coef) == 100 != len(few.dual_coef)
    # Balanced over class and generator: all of the small generator's rows are landmarks.
    held = {row.tobytes() for row in many.support_vectors.numpy()}
    assert all(row.tobytes() in held for row in x[:10])
    assert sum(row.tobytes() in held for row in x[y == 1]) == 50
    again = fit_svm(x, y, generators=generators, landmarks=100)
    assert torch.equal(again.dual_coef, many.dual_coef)
    assert svm_rule(50_001) != svm_rule(50_000)


def test_it_comes_close_to_the_exact_svc(train, fresh, svm):
    landmarks = train[0][np.random.default_rng(0).permutation(1500)[:1000]]
    close = fit_nystroem(*train, landmarks, 1.0, svm.gamma)
    exact, found = (model.decision(torch.tensor(fresh[0])) for model in (svm, close))
    assert roc_auc_score(fresh[1], found) > roc_auc_score(fresh[1], exact) - 0.02


def test_a_memory_map_gives_the_same(sphere, tmp_path):
    x, y = sphere(2000, 4, dim=16)
    mapped = np.memmap(tmp_path / "x", np.float16, "w+", shape=x.shape)
    mapped[:] = x
    plain = np.asarray(mapped)
    one, two = (fit_nystroem(rows, y, plain[:50], 1.0, 1.0) for rows in (mapped, plain))
    assert torch.equal(one.dual_coef, two.dual_coef)


def test_the_baseline_in_blocks_is_the_baseline(sphere, monkeypatch):
    x, y = sphere(1500, 5, dim=16)
    x[:, 3] = 0.5
    whole = fit_linear_baseline(x, y)
    monkeypatch.setattr(fitting, "MAX_KERNEL_ROWS", 1000)
    blocked = fit_linear_baseline(x, y)
    assert not torch.equal(whole.coef, blocked.coef)
    np.testing.assert_allclose(
        whole.decision(torch.tensor(x)), blocked.decision(torch.tensor(x)), atol=2e-3 * float(whole.coef.abs().max())
    )


@pytest.mark.parametrize("rows", [7, 70_000])
def test_the_scale_is_scikit_learns_in_any_number_of_rows(rows):
    x = np.random.default_rng(0).normal(0.3, 2, size=(rows, 3)).astype(np.float32)
    assert fitting.scale_gamma(x) == pytest.approx(1 / (3 * x.astype(np.float64).var()))
