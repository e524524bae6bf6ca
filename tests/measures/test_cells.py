"""A cell agrees with scikit-learn and with a small case written out; sources of reals are told apart, worst first."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from clipfake.measures.cells import CATEGORY_REALS, Scored, cell, curves, real_sources, worst
from clipfake.measures.thresholds import Threshold

THRESHOLDS = (Threshold(0.05, 1.0, 400), Threshold(0.01, 2.0, 1000))


def scored(y, decision, unit=None):
    y, decision = np.asarray(y), np.asarray(decision, float)
    return Scored(
        y, decision, 1 / (1 + np.exp(-decision)), np.arange(len(y)) if unit is None else np.asarray(unit), THRESHOLDS
    )


def test_a_case_worked_by_hand():
    found = cell(scored([0, 0, 0, 0, 1, 1], [-1.0, 0.5, 1.5, 1.0, 0.0, 3.0], [0, 1, 2, 3, 4, 4]))
    assert found["confusion"] == {"tn": 1, "fp": 3, "fn": 1, "tp": 1}  # a decision of 0 is real
    assert found["balanced_accuracy"] == (1 / 4 + 1 / 2) / 2
    assert found["units"] == 5
    assert found["verdicts"] == {
        "real": {"real": 2, "unsure": 2, "fake": 0}, "fake": {"real": 1, "unsure": 0, "fake": 1}
    }  # fmt: skip
    assert {rate: (at["fpr"], at["tpr"]) for rate, at in found["at_thresholds"].items()} == {
        "0.05": (2 / 4, 1 / 2), "0.01": (0.0, 1 / 2)
    }  # fmt: skip
    assert set(found["tpr_at_fpr"].values()) == {None}  # far too few reals
    for name in ("accuracy", "real_accuracy", "fake_accuracy", "balanced_accuracy"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert found["auc_low"] is None  # the fakes are one unit


@pytest.mark.parametrize("y", [[], [0, 0], [1, 1]])
def test_what_is_undefined_is_none_and_json(y):
    found = cell(scored(y, np.linspace(-1, 3, len(y))))
    assert found["balanced_accuracy"] is found["auc"] is found["auc_low"] is found["balanced_accuracy_low"] is None
    assert (found["at_thresholds"]["0.05"]["fpr"] is None) == (0 not in y)
    assert curves(scored(y, np.linspace(-1, 3, len(y)))) == {}
    json.dumps(found, allow_nan=False)


def test_curves_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    y = np.arange(3000) % 2
    s = scored(y, random.normal(size=3000) + y)
    found = curves(s)
    fpr, tpr = (np.array(found["roc"][key]) for key in ("fpr", "tpr"))
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert len(fpr) <= 201
    assert sk.auc(fpr, tpr) == pytest.approx(sk.roc_auc_score(y, s.decision), abs=1e-3)
    assert sum(b["n"] for b in found["reliability"]) == 3000
    # Bins of 1/15, by hand for one of them, and ECE from all of them.
    mine = (s.probability >= 7 / 15) & (s.probability < 8 / 15)
    middle = next(b for b in found["reliability"] if b["low"] == 7 / 15)
    assert (middle["n"], middle["fakes"]) == (mine.sum(), y[mine].mean())
    ece = sum(b["n"] * abs(b["fakes"] - b["probability"]) for b in found["reliability"]) / 3000
    assert ece == pytest.approx(cell(s)["ece"])


def test_false_positives_of_each_source_and_of_its_larger_categories():
    shoes, hats = CATEGORY_REALS + 10, CATEGORY_REALS - 1
    name = np.array(["clothes"] * (shoes + hats) + ["coco"] * 8 + ["sd"] * 5, object)
    kind = np.array(["shoe"] * shoes + ["hat"] * hats + [None] * 8 + ["art"] * 5, object)
    y = np.array([0] * (shoes + hats + 8) + [1] * 5)
    decision = np.full(len(y), -1.0)
    decision[:10] = 1.2  # ten shoes are called fake
    decision[-8:-5] = 5  # and three of coco
    rows = real_sources(scored(y, decision), name, kind)
    assert [(row["source"], row["category"], row["reals"], row["fpr"]) for row in rows] == [
        ("coco", None, 8, 3 / 8),
        ("clothes", "shoe", shoes, 10 / shoes),
        ("clothes", None, shoes + hats, 10 / (shoes + hats)),
    ]
    assert rows[0]["verdicts"] == {"real": 5, "unsure": 0, "fake": 3}
    assert rows[1]["at_thresholds"]["0.01"]["fpr"] == 0


def test_the_worst_is_the_lowest_balanced_accuracy():
    cells = [
        {"balanced_accuracy": value, "auc": auc} for value, auc in ((0.7, 0.9), (None, None), (0.6, 0.8), (0.6, 0.7))
    ]
    assert worst([*cells, {"error": "too few"}]) == {"balanced_accuracy": 0.6, "auc": 0.7}
    assert worst([]) is None
