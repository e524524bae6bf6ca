"""Every kind of every part comes back from its own state, and says what is wrong with it."""

import numpy as np
import pytest
import torch

from clipfake.detector.calibrators.maps import CALIBRATORS, Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.kinds import CLASSIFIERS
from clipfake.detector.classifiers.linear import Linear
from clipfake.detector.heads.linear_projection import HEADS, FusionHead, init_head
from clipfake.detector.unfamiliarity import Reference

PARTS = [
    Linear(torch.tensor([1.0, -2.0], dtype=torch.float64), 0.5),
    KernelSvm(torch.ones(3, 2), torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), 0.5, 1.0),
    init_head(2, 3),
    FusionHead(init_head(2, 3), init_head(4, 3, 1), "sum"),
    Sigmoid(-1.0, 0.5),
    Temperature(0.5),
    Isotonic(np.array([0.0, 1.0]), np.array([0.25, 0.75])),
    Reference(torch.eye(2), np.array([0.0, 1.0])),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.kind)
def test_it_comes_back_from_its_state(part):
    again = type(part).from_state(part.describe(), part.arrays())
    assert (again.kind, again.describe(), list(again.problems())) == (part.kind, part.describe(), [])
    assert all(torch.equal(array, again.arrays()[name]) for name, array in part.arrays().items())


def test_each_kind_is_in_its_table_by_its_own_name():
    tables = HEADS | CLASSIFIERS | CALIBRATORS | {Reference.kind: Reference}
    assert tables == {part.kind: type(part) for part in PARTS}
