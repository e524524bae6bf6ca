"""Distances are drawn from the right pairs; components are those of the covariance."""

import numpy as np
import pytest

from clipfake.measures.geometry import anchor_distances, principal_components


def test_positives_are_of_the_class_and_negatives_of_the_other():
    y = np.array([0, 1] * 30)
    vectors = np.zeros((60, 3))
    vectors[:, 0] = np.arange(60)  # no two alike: a pair of one vector would have distance 0
    vectors[y == 1, 1] = 1000
    near, far = anchor_distances(vectors, y, rounds=20)
    assert near.shape == far.shape == (20 * 60,)
    assert near.min() == 2  # the same class is every other row
    assert near.max() <= 58
    assert far.min() >= 1000
    again, _ = anchor_distances(vectors, y, rounds=20)
    assert (near == again).all()
    assert np.mean(near) == pytest.approx(2 * 31 / 3, rel=0.06)  # of all pairs of 30 rows, two apart


def test_an_anchor_without_partners_gives_no_pair():
    near, far = anchor_distances(np.eye(3), np.array([0, 0, 1]), rounds=2)
    assert len(near) == 4
    assert len(far) == 6
    near, far = anchor_distances(np.eye(3), np.zeros(3, int), rounds=2)
    assert (len(near), len(far)) == (6, 0)


def test_components_are_the_covariances_eigenvectors():
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(300, 6)) * np.array([5, 3, 1, 1, 0.5, 0.1])).astype(np.float32)
    scores, shares = principal_components(vectors)
    values, axes = np.linalg.eigh(np.cov(vectors.T.astype(np.float64)))
    np.testing.assert_allclose(shares, values[::-1] / values.sum(), rtol=1e-6)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(np.abs(scores), np.abs(centred @ axes[:, :-3:-1]), atol=1e-5)
