"""Means over cells and seeds, by hand."""

import numpy as np
import pytest

from clipfake.evaluation.protocols import ALL
from clipfake.evaluation.summary import MEASURES, macros, over_seeds


def one(trained_on, tested_on, value, error=None):
    measured = {} if error else dict.fromkeys((*MEASURES, "accuracy"), value) | {"fakes": 3}
    return {"trained_on": trained_on, "tested_on": tested_on, "error": error, **measured}


def test_the_matrix_is_averaged_apart_for_what_was_seen_and_what_was_not():
    cells = [one(ALL, "a", 0.9), one("a", "a", 0.8), one("b", "b", 0.6), one("a", "b", 0.5), one("b", "a", None, "few")]
    found = macros("matrix", cells)
    assert {name: mean["balanced_accuracy"] for name, mean in found.items()} == pytest.approx(
        {ALL: 0.9, "same": 0.7, "cross": 0.5}
    )


def test_all_generators_at_once_are_not_one_of_them():
    assert macros("own", [one("d", ALL, 0.9), one("d", "a", 0.5)])["generators"]["auc"] == 0.5


def test_seeds_have_a_mean_and_a_deviation_over_n_minus_one():
    cells = [one("a", "b", value) for value in (0.5, 0.6, 0.8)] + [one("a", "b", None, "few"), one("c", "d", 0.5)]
    (row,) = over_seeds(cells)
    assert (row["trained_on"], row["tested_on"], row["seeds"]) == ("a", "b", 3)
    assert row["auc"] == pytest.approx({"mean": np.mean([0.5, 0.6, 0.8]), "sd": np.std([0.5, 0.6, 0.8], ddof=1)})
