"""A decoder is listed if it changes at most 10 verdicts in 10,000, of 3,000 images at least."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.detector.further_decoder import FEWEST, FurtherDecoder


def further(images, changed):
    return FurtherDecoder("fast", images, changed, 0.1, "fp32", np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("images", "changed", "says"),
    [
        (0, 0, "give 3000 at least"),
        (2_999, 0, "give 3000 at least"),
        (3_000, 0, None),
        (3_000, 3, None),
        (3_000, 4, "4 of 3000 verdicts, 13.3 in 10,000"),
        (10_000, 10, None),
        (10_000, 11, "fast changes 11"),
    ],
)
def test_what_passes(images, changed, says):
    problem = further(images, changed).problem
    assert problem is None if says is None else says in problem


def test_where_none_changes_the_rule_of_three_gives_what_may_change():
    """None of n changed: with 95 % confidence at most 3 in n do, by (1 - p)^n = 0.05."""
    assert (1 - 0.001) ** (FEWEST - 10) >= 0.05
    assert (1 - 0.001) ** FEWEST < 0.05


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 100))
def test_it_comes_back_from_what_is_written_of_it(images, changed, moved):
    one = FurtherDecoder("gpu-1", images, changed, moved, "bf16", np.arange(3, dtype=np.float32))
    again = FurtherDecoder.from_dict(one.described(), one.test_card)
    assert vars(again) == vars(one)
