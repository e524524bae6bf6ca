"""The attacked sample: half of each class, and the same members whatever the order."""

import numpy as np

from clipfake.evaluation.attack import _sample


def test_a_sample_is_half_of_each_class_as_far_as_they_last_and_keeps_its_members():
    items, y = [f"item {i}" for i in range(100)], np.array([0] * 90 + [1] * 10)
    for count, reals, fakes in ((2, 1, 1), (10, 5, 5), (20, 10, 10), (40, 30, 10), (100, 90, 10), (500, 90, 10)):
        rows = _sample(items, y, count, 0)
        assert ((y[rows] == 0).sum(), (y[rows] == 1).sum()) == (reals, fakes)
        assert len(set(rows.tolist())) == len(rows)
    assert set(_sample(items, y, 6, 0)) <= set(_sample(items, y, 10, 0))
    assert _sample(items, y, 10, 0).tolist() != _sample(items, y, 10, 1).tolist()
    order = np.random.default_rng(0).permutation(100)
    shuffled = _sample([items[i] for i in order], y[order], 10, 0)
    assert {items[order[i]] for i in shuffled} == {items[i] for i in _sample(items, y, 10, 0)}
