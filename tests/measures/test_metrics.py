"""The numbers against scikit-learn, against each other, and against small cases worked by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from clipfake.measures.metrics import by_generator, macro_mean, metrics


@pytest.fixture
def scored():
    random = np.random.default_rng(0)
    y = (random.random(3000) < 0.3).astype(np.int8)
    decision = random.normal(size=3000) + y
    return y, decision, 1 / (1 + np.exp(-decision)), decision > 0.4


def test_they_equal_scikit_learns(scored):
    y, decision, probability, called = scored
    found = metrics(y, decision, probability, called)
    expected = {
        "accuracy": sk.accuracy_score(y, called),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "real_accuracy": sk.recall_score(y, called, pos_label=0),
        "fake_accuracy": sk.recall_score(y, called),
        "auc": sk.roc_auc_score(y, decision),
        "ap": sk.average_precision_score(y, decision),
        "brier": sk.brier_score_loss(y, probability),
        "nll": sk.log_loss(y, probability),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert list(found["confusion"].values()) == sk.confusion_matrix(y, called).ravel().tolist()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_share_of_fakes_found_at_a_false_positive_rate_equals_the_roc_curves(scored):
    y, decision, probability, called = scored
    fpr, tpr, _ = sk.roc_curve(y, decision, drop_intermediate=False)
    found = metrics(y, decision, probability, called)["tpr_at_fpr"]
    assert found == {"0.05": tpr[fpr <= 0.05][-1], "0.01": tpr[fpr <= 0.01][-1], "0.001": None}  # about 2,100 reals


def test_a_case_worked_by_hand():
    y = np.array([0, 0, 0, 1, 1])
    probability = np.array([0.1, 0.4, 0.6, 0.4, 0.9])
    found = metrics(y, probability - 0.5, probability, probability > 0.5)
    assert (found["n"], found["reals"], found["fakes"]) == (5, 3, 2)
    assert found["confusion"] == {"tn": 2, "fp": 1, "fn": 1, "tp": 1}
    assert found["accuracy"] == 0.6
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Pairs (real, fake): 0.4 beats one of three and ties with one, 0.9 beats three.
    assert found["auc"] == pytest.approx((1.5 + 3) / 6)
    # Bins of 1/15: {0.1}, {0.4, 0.4} holds one fake, {0.6}, {0.9}.
    assert found["ece"] == pytest.approx((0.1 + abs(1 - 0.8) + 0.6 + 0.1) / 5)
    assert found["brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.6**2 + 0.6**2 + 0.1**2) / 5)


def test_the_interval_is_wilsons():
    # The source system's CycleGAN test part, research/science.md 1.2: 94.02 % [93.12, 94.81].
    y = np.array([0] * 1521 + [1] * 1522)
    called = np.array([False] * 1423 + [True] * 98 + [False] * 84 + [True] * 1438)
    found = metrics(y, called * 1.0, called * 1.0, called)
    assert 100 * found["accuracy"] == pytest.approx(94.02, abs=0.005)
    assert [100 * found["accuracy_low"], 100 * found["accuracy_high"]] == pytest.approx([93.12, 94.81], abs=0.005)


@pytest.mark.parametrize("y", [[0, 0], [1, 1], []])
def test_what_is_undefined_is_none(y):
    values = np.linspace(0.2, 0.8, len(y))
    found = metrics(np.array(y), values, values, values > 0.5)
    assert found["auc"] is found["ap"] is found["balanced_accuracy"] is None
    assert set(found["tpr_at_fpr"].values()) == {None}
    assert (found["real_accuracy"] is None) == (0 not in y)
    assert (found["brier"] is None) == (not y)
    json.dumps(found, allow_nan=False)


def test_by_generator_sets_fakes_against_their_own_reals_or_else_against_the_sources():
    #        coco    pro_gan     glide
    y = np.array([0, 0, 0, 1, 1, 1])
    names = ["coco", "coco", "pro_gan", "pro_gan", None, None]
    decision = np.array([-2.0, 1.0, -1.0, -1.5, 0.5, 2.0])
    table = by_generator(y, names, decision, 1 / (1 + np.exp(-decision)), decision > 0)
    assert list(table) == ["", "coco", "pro_gan"]
    assert (table["pro_gan"]["reals_from"], table["pro_gan"]["n"], table["pro_gan"]["auc"]) == ("own", 2, 0.0)
    assert (table[""]["reals_from"], table[""]["reals"], table[""]["auc"]) == ("all", 2, pytest.approx(3 / 4))
    assert (table["coco"]["fakes"], table["coco"]["auc"], table["coco"]["real_accuracy"]) == (0, None, 0.5)
    mean = macro_mean(table)
    assert mean["auc"] == pytest.approx((0 + 3 / 4) / 2)
    assert mean["fake_accuracy"] == pytest.approx((0 + 1) / 2)
    assert set(macro_mean({"coco": table["coco"]}).values()) == {None}
