"""The nearest rows are those of a plain float64 product, however narrow the cone that the vectors lie in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.measures.neighbours import Neighbours


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@given(
    st.integers(1, 400), st.integers(2, 40), st.integers(1, 12), st.floats(0, 30), st.sampled_from(["f2", "f4"]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_nearest_are_those_of_brute_force(rows, dim, k, cone, dtype, seed):
    random = np.random.default_rng(seed)
    x = _unit(random.normal(size=(rows, dim)) + cone).astype(dtype)
    query = _unit(x[random.integers(rows)].astype(float) + 0.05 * random.normal(size=dim))
    found = Neighbours(x).nearest(query, k)
    cosine = x.astype(np.float64) @ query
    best = np.argsort(-cosine, kind="stable")[: min(k, rows)]
    np.testing.assert_allclose(found.cosine, cosine[best], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cosine[found.row], found.cosine, rtol=0, atol=1e-12)
    assert len(set(found.row.tolist())) == len(best)


def test_equal_rows_come_in_their_order():
    x = np.repeat(_unit(np.eye(3, 8)), 4, axis=0).astype(np.float16)
    assert Neighbours(x).nearest(x[4].astype(float), 4).row.tolist() == [4, 5, 6, 7]


def test_nothing_in_nothing():
    found = Neighbours(np.empty((0, 8), np.float16)).nearest(_unit(np.ones(8)), 5)
    assert len(found.row) == len(found.cosine) == 0


def test_what_half_precision_cannot_tell_apart_is_told_apart():
    """Rows that differ by less than float16 resolves, in a cone: the rough pass alone would get them wrong."""
    random = np.random.default_rng(0)
    x = _unit(100 + random.normal(size=(2000, 64))).astype(np.float32)
    query = _unit(x[7].astype(float) + 1e-5 * random.normal(size=64))
    found = Neighbours(x).nearest(query, 20)
    assert found.row.tolist() == np.argsort(-(x.astype(float) @ query), kind="stable")[:20].tolist()
    assert found.cosine[0] == pytest.approx(1, abs=1e-6)
