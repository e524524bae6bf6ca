"""Decisions from the stored arrays are scikit-learn's, on every batch size and under every precision set outside."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from clipfake.detector.fit import fit_svm
from clipfake.detector.svm import KernelSvm, LinearSvm


def test_decisions_equal_scikit_learns(svm, reference, fresh):
    expected = reference.decision_function(fresh[0])
    x = torch.tensor(fresh[0])
    exact = svm.decision(x, torch.float64)
    assert exact.dtype == torch.float64
    np.testing.assert_allclose(svm.decision(x), expected, rtol=0, atol=1e-5)  # the tolerance leaves room for machines
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-9)


def test_they_do_with_another_cost_and_gamma(train, fresh):
    svm = fit_svm(*train, C=1000.0, gamma=4.0)
    assert svm.tolerance == pytest.approx(max(1e-4, 1e-6 * svm.dual_coef.abs().sum().item()))
    expected = SVC(C=1000.0, gamma=4.0, class_weight="balanced").fit(*train).decision_function(fresh[0])
    x = torch.tensor(fresh[0])
    np.testing.assert_allclose(svm.decision(x, torch.float64), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(svm.decision(x), expected, rtol=0, atol=svm.tolerance)


def test_decisions_do_not_depend_on_the_batch(svm, fresh):
    x = torch.tensor(fresh[0][:300])
    whole = svm.decision(x)
    for size in (1, 32, 257):
        parts = torch.cat([svm.decision(part) for part in x.split(size)])
        np.testing.assert_allclose(parts, whole, rtol=0, atol=svm.tolerance)
    assert svm.decision(x[:0]).shape == (0,)


def test_reduced_precision_set_outside_does_not_reach_the_kernel(svm, fresh):
    x = torch.tensor(fresh[0][:100])
    expected = svm.decision(x)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
            np.testing.assert_array_equal(svm.decision(x), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_sum_over_the_support_vectors_is_float64():
    svm = KernelSvm(torch.ones(3, 2), torch.tensor([1e8, 1, -1e8], dtype=torch.float64), 0.0, 1.0)
    assert svm.decision(torch.ones(1, 2)).tolist() == [1]


def test_a_linear_decision():
    svm = LinearSvm(torch.tensor([1, -2], dtype=torch.float64), 0.5)
    assert svm.decision(torch.tensor([[1.0, 1], [3, 0]])).tolist() == [-0.5, 3.5]
