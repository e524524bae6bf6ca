"""Which pictures pretraining may be told to make."""

import pytest

from clipfake.errors import UsageError
from clipfake.images.synthetic.options import PairOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"decoders": 0}, "--decoders must be at least 1"),
        ({"steps": 0}, "at least 1"),
        ({"leave_out": ("fractal",)}, "leave out some of"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        PairOptions(**options)
    assert "\n" not in str(refused.value)
