"""Unfamiliarity is a quantile of the cosine distance to the nearest reference point, in batches of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics.pairwise import cosine_distances

from clipfake.detector.unfamiliarity import TOLERANCE, Reference, fit_reference
from clipfake.errors import UsageError


def cone(n, seed, width, dim=64):
    """Unit vectors in a cone, as an encoder's are."""
    x = np.random.default_rng(seed).normal(size=(n, dim)) * width + 1
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    return fit_reference(cone(900, 0, 0.5), np.arange(900) % 2, ["a"] * 900, cone(500, 1, 0.5), points=200)


@pytest.mark.parametrize("width", [3.0, 0.5, 0.02])
def test_the_distance_is_scikit_learns_also_in_a_narrow_cone(width):
    points, x = cone(300, 0, width), cone(2500, 1, width)
    expected = cosine_distances(x.astype(np.float64), points.astype(np.float64)).min(axis=1)
    found = Reference(torch.from_numpy(points), np.zeros(2)).distance(torch.from_numpy(x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert found.dtype == np.float64
    if width == 0.02:  # the digits of small distances are kept
        np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_length_and_stored_type_do_not_matter(reference):
    x = cone(50, 2, 0.5)
    expected = reference.distance(torch.from_numpy(x))
    np.testing.assert_allclose(reference.distance(torch.from_numpy(x * 7)), expected, atol=TOLERANCE)
    half = reference.distance(torch.from_numpy(x.astype(np.float16)))
    np.testing.assert_allclose(half, expected, atol=1e-4)


def test_batches_do_not_matter(reference):
    x = torch.from_numpy(cone(1300, 3, 0.5))
    whole = reference.distance(x)
    for size in (1, 7, 1024):
        parts = np.concatenate([reference.distance(part) for part in x.split(size)])
        np.testing.assert_allclose(parts, whole, rtol=0, atol=TOLERANCE)
    assert reference.unfamiliarity(x[:0]).shape == (0,)


def test_it_is_even_on_data_like_the_held_out_and_one_far_from_it(reference):
    like = reference.unfamiliarity(torch.from_numpy(cone(4000, 4, 0.5)))
    for quantile in (0.05, 0.5, 0.95):
        # Two samples, of 500 and 4,000: 3 standard deviations of their difference.
        spread = 3 * np.sqrt(quantile * (1 - quantile) * (1 / 500 + 1 / 4000))
        assert (like <= quantile).mean() == pytest.approx(quantile, abs=spread + 1e-3)
    assert (reference.unfamiliarity(torch.from_numpy(-cone(10, 5, 0.5))) == 1).all()
    # On the points themselves it is 0: why quantiles are not taken over training items.
    assert (reference.unfamiliarity(reference.points) == 0).all()


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(2, 30), elements=st.sampled_from([0.0, 0.1, 0.2, 0.2000001, 0.5, 2.0])),
    arrays.arrays(np.float64, 20, elements=st.floats(0, 2)),
)
def test_farther_is_never_more_familiar(quantiles, distances):
    class Given(Reference):
        def distance(self, x):
            return np.sort(distances)

    found = Given(torch.ones(1, 1), np.sort(quantiles)).unfamiliarity(torch.empty(0))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    # Between the share of held-out items that are nearer and the share that are not farther, to one step of the line.
    nearer = [(quantiles < d).mean() for d in np.sort(distances)]
    upto = [(quantiles <= d).mean() for d in np.sort(distances)]
    step = 1 / (len(quantiles) - 1)
    assert all(low - step <= u <= high + step for low, u, high in zip(nearer, found, upto, strict=True))


def test_points_are_balanced_and_the_same_for_a_seed():
    x, y = cone(1000, 0, 0.5), (np.arange(1000) < 950).astype(int)
    generators = np.where(np.arange(1000) % 100 == 0, "rare", "common")
    one, two, other = (fit_reference(x, y, generators, x[:100], seed, points=100) for seed in (0, 0, 1))
    assert torch.equal(one.points, two.points)
    assert not torch.equal(one.points, other.points)
    held = {row.tobytes() for row in one.points.numpy()}
    unit = torch.nn.functional.normalize(torch.from_numpy(x), dim=1).half().numpy()
    assert sum(unit[i].tobytes() in held for i in np.flatnonzero(y == 0)) == 50
    assert all(unit[i].tobytes() in held for i in range(0, 950, 100))
    assert len(one.quantiles) == 1001


def test_without_held_out_items_it_is_refused():
    with pytest.raises(UsageError, match="held-out"):
        fit_reference(cone(10, 0, 1), np.arange(10) % 2, [None] * 10, cone(0, 0, 1))
