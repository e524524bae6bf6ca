"""What `report` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.report.options import PageOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shown": -1}, "--thumbnails must lie between 0 and 200, not -1"),
        ({"shown": 201}, "--thumbnails must lie between 0 and 200, not 201"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        PageOptions(**options)
    assert "\n" not in str(refused.value)
