"""Presets are data: each name in them is an option, and what the published system states is marked."""

from dataclasses import fields

import pytest

from clipfake.errors import UsageError
from clipfake.training.options import HeadOptions, TrainOptions
from clipfake.training.presets import PRESETS, preset

OPTIONS = {one.name for kind in (TrainOptions, HeadOptions) for one in fields(kind)}


@pytest.mark.parametrize("name", PRESETS)
def test_each_value_is_an_options_and_each_that_is_stated_is_there(name):
    found = preset(name)
    assert found.values.keys() <= OPTIONS
    assert set(found.stated or ()) <= found.values.keys()
    assert set(found.inferred) == (found.values.keys() - set(found.stated) if found.stated is not None else set())


def test_the_source_states_its_sizes_its_split_and_its_model_alone():
    source = preset("source")
    assert {name: source.values[name] for name in source.stated or ()} == {
        "out_dim": 128,
        "batch": 128,
        "split": "source",
        "model": "head",
        "cross_fitted": False,
    }


def test_a_patience_of_the_source_stops_at_its_fifth_epoch_and_sits_out_its_bump():
    """One of its runs stops at epoch 5, which is after the first; another recovers from three bad epochs."""
    patience = preset("source").values["patience"]
    assert 1 + patience <= 5
    assert patience > 3


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="no preset 'best': choose one of recommended, source"):
        preset("best")
