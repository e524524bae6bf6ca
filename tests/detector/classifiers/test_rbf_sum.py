"""The sum over an RBF kernel is float64's within float32's error of the exponent, however the work is cut up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.detector.classifiers import rbf_sum
from clipfake.detector.classifiers.kernel_svm import exact_float32
from clipfake.detector.classifiers.rbf_sum import RbfSum

CPU = torch.device("cpu")


def summed(x: np.ndarray, vectors: np.ndarray, coef: np.ndarray, gamma: float) -> np.ndarray:
    with exact_float32(CPU):
        found = RbfSum(torch.from_numpy(vectors), torch.from_numpy(coef), gamma)(torch.from_numpy(x))
    assert found.dtype == torch.float64
    return found.numpy()


def by_definition(x: np.ndarray, vectors: np.ndarray, coef: np.ndarray, gamma: float) -> np.ndarray:
    apart = x.astype(np.float64)[:, None] - vectors.astype(np.float64)[None]
    return np.exp(-gamma * (apart**2).sum(-1)) @ coef


def drawn(seed: int, rows: int, vectors: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x, v = (random.normal(size=(n, dim)).astype(np.float32) for n in (rows, vectors))
    return x, v, random.normal(size=vectors)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 40), vectors=st.integers(1, 60), gamma=st.floats(1e-3, 1.0))
def test_it_is_the_sum_of_the_definition(seed, rows, vectors, gamma):
    x, v, coef = drawn(seed, rows, vectors, 8)
    allowed = 1e-5 * np.abs(coef).sum()
    assert np.abs(summed(x, v, coef, gamma) - by_definition(x, v, coef, gamma)).max() <= allowed


def test_a_vector_is_at_distance_0_of_itself_and_what_is_far_counts_nothing():
    v = np.eye(4, 8, dtype=np.float32)
    assert summed(v, v, np.ones(4), 30.0) == pytest.approx(np.ones(4), abs=1e-5)
    assert summed(100 * v, v, np.ones(4), 30.0) == pytest.approx(np.zeros(4), abs=1e-12)


def test_how_vectors_and_rows_are_cut_up_does_not_matter(monkeypatch):
    x, v, coef = drawn(3, 130, 70, 8)
    whole = summed(x, v, coef, 0.05)
    monkeypatch.setattr(rbf_sum, "_VECTORS", 16)
    monkeypatch.setattr(rbf_sum, "_WIDENED", 48)
    assert summed(x, v, coef, 0.05) == pytest.approx(whole, abs=1e-6 * np.abs(coef).sum())
