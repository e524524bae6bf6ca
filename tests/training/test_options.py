"""What `train` may be told."""

import pytest

from clipfake.errors import UsageError
from clipfake.training.options import HeadOptions, TrainOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "--workers must be at least 1"),
        ({"C": 0.0}, "--c must be above 0"),
        ({"duplicates": "merge"}, "--duplicates must be one of keep, drop, group"),
        ({"calibration": "platt"}, "no calibration 'platt'"),
        ({"split": "half"}, "no split 'half'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, says):
    with pytest.raises(UsageError, match=says) as refused:
        TrainOptions(**options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"margin": 0.0}, "--margin"),
        ({"miner": "all"}, "no miner"),
        ({"out_dim": 1}, "2 dim"),
    ],
)
def test_so_of_the_head(options, says):
    with pytest.raises(UsageError, match=says):
        HeadOptions(**options)


def test_a_search_finds_c_itself():
    assert TrainOptions.of_given("recommended", search=True).search
    assert TrainOptions.of_given("source", C=2.0).overridden == ("C",)
    with pytest.raises(UsageError, match="--search finds C itself"):
        TrainOptions.of_given("recommended", search=True, C=2.0)


def test_what_only_a_head_has_asks_for_one_and_an_old_record_had_one():
    assert TrainOptions.of_preset("recommended").model == "auto"
    assert TrainOptions.of_preset("recommended", search=True).model == "head"
    assert TrainOptions.of_preset("recommended", fusion="sum").model == "head"
    with pytest.raises(UsageError, match="are for --model head"):
        TrainOptions.of_preset("recommended", search=True, model="linear")
    source = TrainOptions.of_preset("source")
    assert (source.model, source.cross_fitted, source.head.stop) == ("head", False, "loss")
    assert TrainOptions.of_record({"C": 2.0}).model == "head"
    assert TrainOptions.of_record({"model": "rbf"}).model == "rbf"
