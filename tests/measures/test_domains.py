"""Which reals a generator's fakes stand against: its own, else those of the sources, else all; in all tables."""

import numpy as np
import pytest

from clipfake.evaluation.protocols import ProtocolRows
from clipfake.measures.domains import domain
from clipfake.measures.metrics import by_generator

Y = np.array([0, 0, 0, 1, 1, 1])
NAME = np.array(["coco", "lsun", "gan", "gan", "glide", "glide"], object)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("gan", [2, 3]), ("glide", [0, 1, 4, 5])],
)
def test_own_reals_or_else_the_sources(name, rows):
    assert np.flatnonzero(domain(Y, NAME, [name])).tolist() == rows


def test_without_sources_all_reals():
    name = np.where(NAME == "coco", "gan", np.where(NAME == "lsun", "gan", NAME))
    assert np.flatnonzero(domain(Y, name, ["glide"])).tolist() == [0, 1, 2, 4, 5]


def test_the_table_of_a_training_and_that_of_an_evaluation_are_of_the_same_rows():
    decision = np.array([-1.0, 0.5, -2.0, 1.0, 0.2, 0.7])
    table = by_generator(Y, NAME.tolist(), decision, np.full(6, 0.5), decision > 0)
    items = ProtocolRows(Y, NAME, np.full(6, "test"))
    for name, rows in items.tests({"gan": ["gan"], "glide": ["glide"]}).items():
        reals, fakes = (decision[rows][Y[rows] == label] for label in (0, 1))
        assert table[name]["n"] == len(rows)
        assert table[name]["auc"] == np.mean([fake > real for fake in fakes for real in reals])
