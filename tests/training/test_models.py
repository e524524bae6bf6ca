"""Each model tells two classes apart on rows that it was not fitted on; the linear one finds a small penalty."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from training_rows import labelled

from clipfake.training.models import PENALTIES, RECIPES, part_of
from clipfake.training.options import HeadOptions, TrainOptions

OPTIONS = TrainOptions(HeadOptions(epochs=2, out_dim=8, batch=32))


@pytest.mark.parametrize("name", RECIPES)
def test_it_tells_the_classes_apart_on_new_rows(name):
    learned, new, recipe = labelled(seed=0), labelled(seed=1), RECIPES[name]
    model = recipe.fit(learned, recipe.cost(learned, OPTIONS), OPTIONS)
    assert roc_auc_score(new.y, model.decision(part_of(new))) > 0.7
    assert (model.head is None) == (name != "head")


def test_a_penalty_that_is_given_is_taken_and_one_that_is_found_is_of_the_grid():
    data = labelled(seed=0)
    assert RECIPES["linear"].cost(data, OPTIONS) in PENALTIES
    given = TrainOptions(OPTIONS.head, C=0.5, overridden=("C",))
    assert RECIPES["linear"].fit(data, RECIPES["linear"].cost(data, given), given).cost == pytest.approx(0.5)


def test_many_useless_dimensions_call_for_a_strong_penalty():
    data = labelled(seed=0, dim=300)
    assert RECIPES["linear"].cost(data, OPTIONS) <= np.median(PENALTIES)


@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_a_row_of_a_large_source_costs_less_than_one_of_a_small_source(name):
    data = labelled(seed=0)
    few = data.take((data.generator != "h") | (np.arange(len(data.y)) % 40 < 4))  # a tenth of the fakes of h
    recipe = RECIPES[name]
    model = recipe.fit(few, 1.0, OPTIONS)
    plain = recipe.fit(replace(few, generator=np.full(len(few.y), None, object)), 1.0, OPTIONS)
    h = part_of(few.take(few.generator == "h"))
    assert model.decision(h).mean() > plain.decision(h).mean()
