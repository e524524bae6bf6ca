"""What `evaluate` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.evaluation.options import EvaluateOptions, RereadOptions, _parts, _seeds


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocols": ("own", "random")}, "no protocol 'random'"),
        ({"by_family": True}, "--by-family is about the matrix"),
        ({"seeds": (1, 2)}, "--seeds is about protocols that retrain"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        EvaluateOptions(**options)
    assert "\n" not in str(refused.value)


def test_what_reads_the_images_again_is_told_with_it():
    with pytest.raises(UsageError, match="give it too"):
        RereadOptions(conditions=("jpeg",))
    with pytest.raises(UsageError, match="--transfer is a way to attack"):
        RereadOptions(transfer=True)
    assert RereadOptions(robustness=True, enlarger="a:b").enlarger == "a:b"


def test_lists_are_repeated_or_have_commas():
    assert _parts(["own,matrix", "official", ""]) == ("own", "matrix", "official")
    assert _seeds("0,7") == (0, 7)
    with pytest.raises(UsageError, match="--seeds takes whole numbers"):
        _seeds("0;7")
