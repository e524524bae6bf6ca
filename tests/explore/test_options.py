"""What `clusters` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.explore.options import ClusterOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k": 1}, "--k must lie between 2 and 4,096"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"num_cpus": 0}, "--num-cpus must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        ClusterOptions(**options)
    assert "\n" not in str(refused.value)
