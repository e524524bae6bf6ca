"""The limits of drift are what `docs` and the help say."""

from dataclasses import astuple

from clipfake.measures.drift_limits import DriftLimits


def test_the_defaults():
    assert astuple(DriftLimits()) == (0.1, 0.2, 0.02, 0.25, 0.005, 0.001)
