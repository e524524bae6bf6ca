"""A probability rises with the decision and stays between 0 and 1, however far the decision."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.detector.calibration import Sigmoid


def test_it_is_platts_formula():
    decision = np.linspace(-20, 20, 101)
    expected = 1 / (1 + np.exp(-1.5 * decision + 0.25))
    np.testing.assert_allclose(Sigmoid(-1.5, 0.25).probability(decision), expected, rtol=1e-9, atol=1e-15)


@settings(deadline=None)
@given(st.floats(-50, -1e-3), st.floats(-10, 10))
def test_it_rises_and_stays_in_range(a, b):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probability = Sigmoid(a, b).probability(np.array([-1e300, -2, 0, 2, 1e300]))
    assert (np.diff(probability) >= 0).all()
    assert (probability[0], probability[-1]) == (0, 1)


def test_its_middle_is_where_the_exponent_is_zero():
    assert Sigmoid(-2, 1).probability(np.array([0.5])).tolist() == [pytest.approx(0.5)]
