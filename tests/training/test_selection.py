"""The simplest model within one standard error of the best on left-out generators is chosen."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from training_rows import labelled

from clipfake.training import selection
from clipfake.training.models import RECIPES
from clipfake.training.options import HeadOptions, TrainOptions
from clipfake.training.selection import _auc, choose

OPTIONS = TrainOptions(HeadOptions(epochs=2, out_dim=8, batch=32))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(selection, "RECIPES", {name: RECIPES[name] for name in ("linear", "rbf")})


def test_what_is_linear_is_left_to_the_linear_model():
    said = []
    name, table = choose(labelled(seed=0), OPTIONS, said.append)
    assert name == "linear"
    assert [row["model"] for row in table] == ["linear", "rbf"]
    assert min(row["behind"] for row in table) == 0
    assert len(said) == 2


def test_what_only_a_kernel_tells_apart_is_left_to_it():
    data = labelled(seed=0)
    random = np.random.default_rng(1)
    data.x[:] = random.normal(size=data.x.shape) * np.where(data.y == 1, 2.0, 0.5)[:, None]
    assert choose(data, OPTIONS, lambda text: None)[0] == "rbf"


def test_the_auc_and_the_variance_of_its_parts():
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    decisions = random.normal(size=(300, 400)) + y
    found = [_auc(y, decision) for decision in decisions]
    assert found[0][0] == pytest.approx(roc_auc_score(y, decisions[0]))
    errors = [np.sqrt(influence @ influence) for _, influence in found]
    assert np.mean(errors) == pytest.approx(np.std([auc for auc, _ in found]), rel=0.15)
