"""Decisions from the stored arrays are scikit-learn's, on every batch size and under every precision set outside."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from clipfake.detector.classifiers import float32_products
from clipfake.detector.classifiers.fitting import fit_svm
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.linear import Linear


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
    assert svm.decision(torch.ones(1, 2)).tolist() == pytest.approx([1], rel=1e-6)  # float32 would give 0


def big(seed=0, n=9_000, d=16, cost=1.0, gamma=1.0):
    """More vectors than one product takes, in pairs that nearly coincide, with coefficients of up to `cost`."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n // 2, d)) + 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.concatenate([vectors, vectors + 1e-4 * random.normal(size=vectors.shape)]).astype(np.float32)
    return KernelSvm(torch.from_numpy(vectors), torch.from_numpy(cost * random.uniform(-1, 1, n)), 0.25, gamma)


def by_scikit_learn(svm, x):
    """The same support vectors and coefficients through SVC.decision_function."""
    n, half = len(svm.dual_coef), len(svm.dual_coef) // 2
    vectors = svm.support_vectors.double().numpy()
    model = SVC(gamma=svm.gamma).fit(np.array([vectors[0], -vectors[0]]), [0, 1])
    model.support_vectors_, model.support_ = vectors, np.arange(n, dtype=np.int32)
    model.dual_coef_ = svm.dual_coef.numpy()[None]
    model._dual_coef_, model._n_support = -model.dual_coef_, np.array([half, n - half], np.int32)
    model.intercept_ = np.array([svm.intercept])
    model._intercept_ = -model.intercept_
    return model.decision_function(x.double().numpy())


@pytest.mark.parametrize("way", ["onednn", "torch"])
@pytest.mark.parametrize("scale, gamma, cost", [(1, 1, 1), (1, 4, 1e3), (1, 0.01, 1e6), (30, 1e-3, 1), (1e-3, 1e6, 10)])
def test_large_coefficients_near_duplicates_and_scales_stay_within_the_tolerance(monkeypatch, way, scale, gamma, cost):
    if way == "torch":
        monkeypatch.setattr(float32_products.torch.ops, "mkldnn", object())
    one = big(cost=cost, gamma=gamma)
    svm = KernelSvm(one.support_vectors * scale, one.dual_coef, one.intercept, gamma)
    x = torch.cat([svm.support_vectors[::90], svm.support_vectors[::90] * 0.9, -svm.support_vectors[:1]])
    expected = by_scikit_learn(svm, x)
    np.testing.assert_allclose(svm.decision(x), expected, rtol=0, atol=svm.tolerance / 4)
    np.testing.assert_allclose(svm.decision(x, torch.float64), expected, rtol=0, atol=1e-9 * cost)
    sizes = [svm.decision(part) for part in x.split(33)]
    np.testing.assert_allclose(torch.cat(sizes), svm.decision(x), rtol=0, atol=svm.tolerance / 4)


def test_memory_does_not_grow_with_rows_nor_with_vectors():
    """Beyond what goes in and comes out, in a process of its own: it is the largest ever that is measured."""
    code = """if True:
        import resource, sys, torch
        from clipfake.detector.classifiers.kernel_svm import KernelSvm
        rows, n = map(int, sys.argv[1:])
        svm = KernelSvm(torch.rand(n, 8), torch.rand(n, dtype=torch.float64), 0.0, 1.0)
        x = torch.rand(rows, 8)
        svm.decision(x[:100])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        svm.decision(x)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    for rows, n in ((60_000, 1_000), (1_000, 100_000)):
        run = subprocess.run(
            [sys.executable, "-c", code, str(rows), str(n)], capture_output=True, text=True, check=True
        )
        assert float(run.stdout) < 20  # MB; the whole kernel is 240 and 400


def test_a_copy_or_a_pickle_leaves_the_packed_arrays_behind(svm, fresh):
    x = torch.tensor(fresh[0][:100])
    expected = svm.decision(x)
    for other in (pickle.loads(pickle.dumps(svm)), copy.deepcopy(svm)):
        assert "_sum" not in vars(other)
        np.testing.assert_array_equal(other.decision(x), expected)


def test_a_linear_decision():
    svm = Linear(torch.tensor([1, -2], dtype=torch.float64), 0.5)
    assert svm.decision(torch.tensor([[1.0, 1], [3, 0]])).tolist() == [-0.5, 3.5]
