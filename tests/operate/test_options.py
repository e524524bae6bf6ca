"""What `nightly` and `doctor` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.operate.options import DoctorOptions, NightlyOptions
from clipfake.scoring.options import ScanOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"against": 0}, "--against must lie between 1 and 400"),
        ({"scan": ScanOptions(layout="csv")}, "a CSV names items anywhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        NightlyOptions(**options)
    assert "\n" not in str(refused.value)


def test_a_node_gets_a_second_to_answer():
    with pytest.raises(UsageError, match="--timeout must be at least 1"):
        DoctorOptions(timeout=0.5)
