"""Steps of spherical k-means: over parts as over the whole, and as written out; groups well apart are found."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from clipfake.measures.kmeans import assign, first_centres, moved, sums


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@given(st.integers(2, 200), st.integers(2, 9), st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_step_over_parts_is_the_step_written_out(rows, dim, k, parts, seed):
    random = np.random.default_rng(seed)
    x, centres = _unit(random.normal(size=(rows, dim))), _unit(random.normal(size=(k, dim)))
    cosines = x.astype(np.float64) @ centres.T.astype(np.float64)
    cluster = assign(x, centres).cluster
    np.testing.assert_allclose(cosines[np.arange(rows), cluster], cosines.max(axis=1), rtol=0, atol=1e-6)
    new, mean = moved([sums(part, centres) for part in np.array_split(x, parts)], centres)
    assert mean == pytest.approx(cosines.max(axis=1).mean(), abs=1e-6)
    for one in range(k):
        members = x[cluster == one].astype(np.float64)
        if len(members) and np.linalg.norm(members.sum(axis=0)) > 1e-3:
            np.testing.assert_allclose(new[one], _unit(members.sum(axis=0)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1, atol=1e-5)


def test_each_empty_cluster_begins_anew_at_another_far_row():
    x = _unit(np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 0, 1]], float))
    centres = _unit(np.array([[1, 0.2, 0.2], [-1, 0, 0], [-1, -1, 0]], float))
    new, _ = moved([sums(x, centres)], centres)
    assert sorted(map(tuple, new[1:].round(4).tolist())) == [(0, 0, 1), (0, 1, 0)]


def test_well_parted_groups_are_found_as_scikit_learn_finds_them():
    random = np.random.default_rng(0)
    middle = _unit(random.normal(size=(5, 16)))
    truth = random.integers(0, 5, 2000)
    x = _unit(middle[truth] + 0.1 * random.normal(size=(2000, 16)))
    centres = first_centres(x[:500], 5, seed=0)
    means = [0.0]
    for _ in range(20):
        centres, mean = moved([sums(part, centres) for part in np.array_split(x, 3)], centres)
        means.append(mean)
    assert all(b >= a - 1e-7 for a, b in itertools.pairwise(means)), "the mean cosine never falls"
    found = assign(x, centres).cluster
    assert adjusted_rand_score(truth, found) == 1
    assert adjusted_rand_score(KMeans(5, random_state=0, n_init=5).fit_predict(x), found) == 1
