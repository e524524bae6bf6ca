"""The metrics that a training states are scikit-learn's of the same decisions; a text that tells is said to tell."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from clipfake.detector.classifiers.fitting import fit_calibrator
from clipfake.measures.thresholds import Threshold
from clipfake.training.tables import metric_tables, text_alone, verdict_counts

ROWS = {"train": 120, "val": 60, "test": 80}
UNITS = {name: np.arange(n) for name, n in ROWS.items()}


def parts(shift: float) -> dict[str, SimpleNamespace]:
    random, found = np.random.default_rng(0), {}
    for name, n in ROWS.items():
        y = np.arange(n) % 2
        x, text = (random.normal(size=(n, 6)).astype(np.float32) for _ in range(2))
        x[:, 0] += y
        text[:, 0] += shift * y
        found[name] = SimpleNamespace(x=x, y=y, text=text)
    return found


def test_detector_and_baseline_are_measured_on_each_part():
    data = parts(0)
    decision = {name: part.x[:, 0] - 0.5 for name, part in data.items()}
    calibrator = fit_calibrator(decision["val"], data["val"].y)
    found = metric_tables(data, decision, calibrator, "sigmoid", UNITS)
    plain = make_pipeline(StandardScaler(), LinearSVC(class_weight="balanced")).fit(data["train"].x, data["train"].y)
    for name, part in data.items():
        mine, raw = found[name]["detector"], plain.decision_function(part.x)
        assert mine["auc"] == pytest.approx(roc_auc_score(part.y, decision[name]))
        assert mine["accuracy"] == pytest.approx(accuracy_score(part.y, decision[name] > 0))
        assert found[name]["baseline"]["auc"] == pytest.approx(roc_auc_score(part.y, raw), abs=0.01)


@pytest.mark.parametrize(("shift", "told"), [(0.0, 0), (4.0, 1)])
def test_a_text_that_gives_the_label_away_is_said_to(shift, told):
    tables = {name: {} for name in ROWS}
    notes = text_alone(parts(shift), tables, UNITS)
    assert len(notes) == told and all("gives it away" in note for note in notes)
    assert tables["test"]["text"]["auc"] == pytest.approx(0.5 if not told else 1.0, abs=0.2)


def test_verdicts_are_counted_by_class():
    y, decision = np.array([0, 0, 0, 1, 1, 1]), np.array([-2.0, 0.5, 3.0, -1.0, 0.5, 2.5])
    thresholds = (Threshold(0.05, 0.0, 300), Threshold(0.01, 2.0, 1000))
    assert verdict_counts(y, decision, thresholds) == {
        "real": {"real": 1, "unsure": 1, "fake": 1},
        "fake": {"real": 1, "unsure": 1, "fake": 1},
    }
