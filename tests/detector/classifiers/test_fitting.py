"""The fits are scikit-learn's, deterministic, and robust against small, lopsided and degenerate data."""

import logging

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from clipfake.detector.calibrators.maps import METHODS, Isotonic
from clipfake.detector.classifiers import fitting
from clipfake.detector.classifiers.fitting import fit_calibrator, fit_linear_baseline, fit_svm
from clipfake.errors import UsageError


def test_gamma_is_scikit_learns_scale_as_a_number(svm, train):
    assert svm.gamma == pytest.approx(SVC().fit(*train)._gamma, rel=1e-6)


def test_the_same_rows_give_the_same_arrays(svm, train):
    again = fit_svm(*train)
    assert torch.equal(svm.support_vectors, again.support_vectors)
    assert torch.equal(svm.dual_coef, again.dual_coef)
    assert (svm.intercept, svm.gamma) == (again.intercept, again.gamma)


def test_the_decision_is_no_statement_about_how_common_fakes_are(sphere):
    x, y = sphere(2000, 3, dim=16)
    few = (y == 0) | (np.arange(len(y)) % 5 == 0)
    svm = fit_svm(x[few], y[few], gamma=0.05)
    called = svm.decision(torch.tensor(x[~few])).numpy() > 0
    assert called.mean() > 0.5  # all of them are fake


def test_identical_vectors_do_not_divide_by_zero():
    svm = fit_svm(np.ones((4, 3)), np.array([0, 1, 0, 1]))
    assert np.isfinite(svm.decision(torch.ones(2, 3))).all()


def test_the_baseline_equals_the_pipeline(train, fresh):
    x = (train[0] * 0.003 + np.eye(1, 128)).astype(np.float32)  # the narrow cone of an untrained encoder
    new = (fresh[0] * 0.003 + np.eye(1, 128)).astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), LinearSVC(class_weight="balanced", dual=False))
    expected = pipeline.fit(x.astype(np.float64), train[1]).decision_function(new.astype(np.float64))
    found = fit_linear_baseline(x, train[1])
    np.testing.assert_allclose(found.decision(torch.tensor(new)), expected, atol=1e-6)
    assert ((expected > 0) == fresh[1]).mean() > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_equal_scikit_learns(reference, fresh, method, monkeypatch):
    monkeypatch.setattr(fitting, "ISOTONIC_ROWS", 100)
    x, y = fresh
    decision = reference.decision_function(x)
    frozen = CalibratedClassifierCV(FrozenEstimator(reference), method=method).fit(x[:500], y[:500])
    found = fit_calibrator(decision[:500], y[:500], method)
    np.testing.assert_allclose(found.probability(decision), frozen.predict_proba(x)[:, 1], atol=1e-7)
    assert len(set(found.probability(decision))) > 10


def test_isotonic_is_refused_below_a_thousand_of_each_class():
    decision = np.random.default_rng(0).normal(size=2999)
    y = (np.arange(2999) >= 999).astype(int)
    with pytest.raises(UsageError, match="1000 validation items of each class and there are 999") as refused:
        fit_calibrator(decision, y, "isotonic")
    assert "\n" not in str(refused.value)
    assert isinstance(fit_calibrator(np.append(decision, 0.0), np.append(y, 0), "isotonic"), Isotonic)
    with pytest.raises(UsageError, match="choose one of sigmoid"):
        fit_calibrator(decision, y, "platt")


def test_probabilities_are_calibrated():
    random = np.random.default_rng(0)
    decision = random.normal(size=20_000)
    y = random.random(20_000) < 1 / (1 + np.exp(-(2 * decision - 0.5)))
    sigmoid = fit_calibrator(decision, y.astype(np.int8))
    assert (sigmoid.a, sigmoid.b) == pytest.approx((-2, 0.5), abs=0.1)


def test_two_rows_are_enough_to_calibrate():
    assert fit_calibrator(np.array([-1.0, 1.0]), np.array([0, 1])).a < 0


def test_a_detector_that_tells_nothing_apart_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        assert fit_calibrator(np.linspace(-1, 1, 100), (np.arange(100) < 50).astype(int)).a > 0
    assert "tells nothing apart" in caplog.text


@pytest.mark.parametrize("label", [0, 1])
def test_a_missing_class_is_said(label):
    y = np.full(5, label)
    x = np.random.default_rng(0).normal(size=(5, 3))
    missing = "fake" if label == 0 else "real"
    for fit, values in ((fit_svm, x), (fit_linear_baseline, x), (fit_calibrator, x[:, 0])):
        with pytest.raises(UsageError, match=f"holds no {missing} items"):
            fit(values, y)
