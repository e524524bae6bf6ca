"""A probability rises with the decision and stays between 0 and 1, however far the decision."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from clipfake.detector.calibrators.maps import Isotonic, Sigmoid, Temperature


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


@settings(deadline=None)
@given(st.floats(1e-4, 100), st.floats(-50, 50))
def test_a_temperature_keeps_one_half_at_zero(beta, decision):
    p = Temperature(beta).probability(np.array([0.0, decision, -decision]))
    assert p[0] == 0.5
    assert p[1] + p[2] == pytest.approx(1)
    assert p[1] == pytest.approx(1 / (1 + np.exp(np.clip(-2 * beta * decision, -700, 700))), abs=1e-12)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 1)), min_size=2, max_size=60, unique_by=lambda pair: pair[0])
)
def test_isotonic_never_falls_and_is_level_outside(pairs):
    decision, y = np.array(pairs).T
    line = IsotonicRegression(out_of_bounds="clip").fit(decision, y)
    isotonic = Isotonic(line.X_thresholds_, line.y_thresholds_)
    at = np.sort(np.concatenate([decision, np.linspace(-6, 6, 40), [-1e300, 1e300]]))
    p = isotonic.probability(at)
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert (p[0], p[-1]) == (isotonic.probabilities[0], isotonic.probabilities[-1])
    np.testing.assert_allclose(p, line.predict(at), atol=1e-12)
