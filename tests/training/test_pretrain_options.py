"""What pretraining may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.training.pretrain_options import PretrainOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "--steps must be at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"loaders": -1}, "--loaders must be at least 0"),
        ({"batch": 6}, "the batch must be a multiple of 4"),
        ({"batch": 18, "workers": 2}, "the batch must be a multiple of 4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        PretrainOptions(**options)
    assert "\n" not in str(refused.value)
