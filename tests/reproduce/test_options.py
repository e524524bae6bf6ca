"""What `reproduce` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.reproduce.options import ReproduceOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sets": ("cycle_gan",)}, "--sets"),
        ({"sets": ("cycle_gan", "cycle_gan")}, "--sets"),
        ({"sets": ("cycle_gan", "both")}, "--sets"),
        ({"precision": "fp8"}, "fp8"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        ReproduceOptions(**options)
    assert "\n" not in str(refused.value)
