"""What `audit` may be told."""

import pytest

from clipfake.audit.options import AuditOptions
from clipfake.errors import UsageError


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"duplicates": "keep"}, "--duplicates must be one of report, drop, group"),
        ({"duplicates": "drop"}, "--out belong together"),
        ({"out": "place"}, "--out belong together"),
        ({"sample": -1}, "--sample must be at least 0"),
        ({"threshold": 1.0}, "--near must lie between 0 and 1, not 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        AuditOptions(**options)
    assert "\n" not in str(refused.value)
