"""Folds keep units whole and leave both classes on either side."""

import numpy as np
import pytest

from clipfake.errors import UsageError
from clipfake.training.folds import grouped_folds


def test_each_unit_is_left_out_once_with_both_classes_on_either_side():
    y, unit = np.tile([0, 1], 60), np.repeat([f"u{i}" for i in range(30)], 4)
    folds = grouped_folds(y, unit, 0)
    assert np.sum(folds, axis=0).tolist() == [1] * 120
    for out in folds:
        assert not set(unit[out]) & set(unit[~out])
        assert set(y[out]) == set(y[~out]) == {0, 1}


def test_one_unit_of_a_class_is_refused():
    with pytest.raises(UsageError, match="one class lies in 1;"):
        grouped_folds(np.array([0, 1, 1]), np.array(["a", "b", "c"]), 0)


def test_folds_of_units_by_name_are_those_of_their_codes():
    """An evaluation knows units as numbers, and trains what `train` did."""
    unit = np.array([f"group:{i // 2}" for i in range(60)], object)
    codes = np.unique(unit.astype(str), return_inverse=True)[1]
    y = np.arange(60) % 2
    for one, two in zip(grouped_folds(y, unit, 0), grouped_folds(y, codes.astype(object), 0), strict=True):
        np.testing.assert_array_equal(one, two)
