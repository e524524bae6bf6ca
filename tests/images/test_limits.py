"""Limits that no image could keep are refused, by the names of their options."""

import pytest

from clipfake.errors import UsageError
from clipfake.images.limits import Limits


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("max_bytes", "--max-bytes"),
        ("max_pixels", "--max-pixels"),
        ("timeout_s", "--decode-timeout"),
        ("memory_bytes", "--decode-memory"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_impossible_limits(name, says, value):
    with pytest.raises(UsageError, match=says):
        Limits(**{name: value})
