"""The folds of the protocols that retrain: units stay whole, what is left out trains nothing, families count as one."""

from dataclasses import replace

import numpy as np
import pytest
from training_rows import labelled

from clipfake.evaluation.retrained_protocols import _folds, retrained_sections
from clipfake.training.options import TrainOptions


@pytest.fixture(scope="module")
def data():
    return labelled(seed=0, rows=200)


@pytest.mark.parametrize("protocol", ["matrix", "leave-generator", "leave-family"])
@pytest.mark.parametrize("family", [None, {"g": "gan", "h": "gan"}])
def test_nothing_that_is_tested_shares_a_unit_with_what_is_trained(data, protocol, family):
    folds = _folds(protocol, 3, data, data.generator, family)
    assert folds
    for fold in folds:
        learned = set(data.unit[fold.train]) | set(data.unit[fold.val])
        assert not learned & {unit for rows in fold.tests.values() for unit in data.unit[rows]}


def test_what_is_left_out_trains_nothing(data):
    folds = {fold.trained_on: fold for fold in _folds("leave-generator", 3, data, data.generator, None)}
    assert set(folds) == {"all but g", "all but h"}
    assert set(data.generator[folds["all but g"].train]) == {"a", "b", "h"}
    assert set(data.generator[folds["all but g"].tests["g"]][data.y[folds["all but g"].tests["g"]] == 1]) == {"g"}
    (one,) = _folds("leave-family", 3, data, data.generator, {"g": "gan", "h": "gan"})
    assert set(data.generator[one.train]) == {"a", "b"}  # no fakes are left: there will be no detector


def test_the_official_split_is_the_corpus_own(data):
    half = replace(data, facts={"split": np.where(np.arange(200) // 2 % 2, "train", "test").astype(object)})
    (fold,) = _folds("official", 0, half, data.generator, None)
    assert {half.facts["split"][row] for row in fold.train} == {"train"}
    assert sorted(fold.tests["(all)"].tolist()) == np.flatnonzero(half.facts["split"] == "test").tolist()
    none = replace(data, facts={"split": np.full(200, None, object)})
    (fold,) = _folds("official", 0, none, data.generator, None)
    assert "no official split" in fold.lacking


def test_without_a_protocol_nothing_is_trained(data):
    assert retrained_sections(data, data.generator, TrainOptions(), [], [0], {}, False, None, print) == {}
