"""One fold retrained: its cells are the metrics of decisions that the same training gives, and what fails says why."""

from dataclasses import replace

import numpy as np
import pytest
from training_rows import labelled

from clipfake.evaluation.protocols import Fold
from clipfake.evaluation.retraining import refit
from clipfake.training.options import HeadOptions, TrainOptions

OPTIONS = TrainOptions(HeadOptions(), model="linear")


@pytest.fixture(scope="module")
def data():
    return labelled(seed=0)


@pytest.fixture(scope="module")
def fold(data) -> Fold:
    part = data.parts("grouped", 0)
    train, val, test = (np.flatnonzero(part == name) for name in ("train", "val", "test"))
    tests = {"g": test[data.generator[test] != "h"], "all": test}
    return Fold("everything", train, val, tests)


def test_its_cells_tell_classes_apart_on_rows_that_nothing_was_fitted_on(data, fold):
    units = np.unique(data.unit, return_inverse=True)[1]
    cells = refit(data, units, fold, OPTIONS)
    assert [one["tested_on"] for one in cells] == ["g", "all"]
    for one, rows in zip(cells, fold.tests.values(), strict=True):
        assert one["error"] is None and one["trained_on"] == "everything"
        assert (one["reals"], one["fakes"]) == ((data.y[rows] == 0).sum(), (data.y[rows] == 1).sum())
        assert one["train_reals"] + one["train_fakes"] == len(fold.train)
        # Fakes are shifted by 0.8 in four dimensions: no linear rule has more than Phi(0.8 x 2 / sqrt 2), 0.87.
        assert 0.7 < one["auc"] < 0.97
    assert refit(data, units, fold, OPTIONS) == cells


def test_labels_that_say_nothing_give_chance(data, fold):
    noise = replace(data, x=np.random.default_rng(1).normal(size=data.x.shape).astype(np.float32))
    (_, found) = refit(noise, np.arange(len(data.y)), fold, OPTIONS)
    assert abs(found["auc"] - 0.5) < 0.2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lacking": "the items have no official split"}, "no official split"),
        ({"train": np.array([0, 2, 4])}, "3 real and 0 fake items"),
    ],
)
def test_a_fold_that_cannot_be_trained_says_why_in_each_cell(data, fold, changed, says):
    cells = refit(data, np.arange(len(data.y)), replace(fold, **changed), OPTIONS)
    assert [one["tested_on"] for one in cells] == ["g", "all"]
    assert all(says in one["error"] and "auc" not in one for one in cells)
