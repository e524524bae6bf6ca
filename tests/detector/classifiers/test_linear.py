"""A detector whose classifier is linear on the embedding, without a head, is one like any other: schema version 3."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Sigmoid
from clipfake.detector.classifiers.linear import Linear
from clipfake.detector.inspection import compare, summary
from clipfake.detector.unfamiliarity import Reference
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold

DIM = 6


class Folder(dict):
    def read_bytes(self, name):
        return self[name]

    def write_bytes(self, name, data):
        self[name] = data


@pytest.fixture
def detector():
    random = np.random.default_rng(0)
    points = torch.nn.functional.normalize(torch.tensor(random.normal(size=(9, DIM))), dim=1)
    return Detector(
        encoder={"arch": "a", "weights": "w"}, encoder_fingerprint="e" * 64, head=None,
        classifier=Linear(torch.tensor(random.normal(size=DIM)), 0.25), calibrator=Sigmoid(-1.0, 0.0),
        thresholds=(Threshold(0.05, 1.0, 500, 200),), test_card=random.normal(size=DIM).astype(np.float32),
        test_card_tolerance={"fp32": 1e-4}, reference=Reference(points.half(), np.linspace(0, 1, 5)),
    )  # fmt: skip


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)


def test_it_comes_back_and_scores_by_its_coefficients(detector, x):
    detector.save(folder := Folder())
    described = json.loads(folder["detector.json"])
    assert (described["schema_version"], described["head"]) == (3, None)
    assert described["classifier"] == {"kind": "linear", "intercept": 0.25}
    loaded = Detector.load(folder)
    assert loaded.fingerprint == detector.fingerprint
    loaded.save(again := Folder())
    assert again == folder
    scores = loaded.score(x)
    np.testing.assert_allclose(scores.decision, x.astype(float) @ detector.classifier.coef.numpy() + 0.25, atol=1e-12)
    assert scores.verdict == ["real" if f < 1 else "unsure" for f in scores.decision]
    assert loaded.in_dim == DIM


def test_half_precision_points_measure_the_same_distance(detector, x):
    points = torch.nn.functional.normalize(detector.reference.points.double(), dim=1).numpy()
    directions = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = (1 - directions @ points.T).min(axis=1)
    np.testing.assert_allclose(detector.reference.distance(torch.from_numpy(x)), expected, atol=1e-6)


def test_it_is_shown_compared_and_attacked(detector, x):
    assert summary(detector)["head"] is None
    assert summary(detector)["classifier"]["summary"] == "linear, 6 coefficients"
    nearly = replace(detector, classifier=Linear(detector.classifier.coef, 0.25 + 1e-6))
    assert compare(detector, nearly).alike == "within tolerance"
    assert compare(detector, replace(detector, classifier=Linear(-detector.classifier.coef, 0.25))).alike == "different"
    rows = torch.tensor(x, requires_grad=True)
    detector.differentiable(rows).sum().backward()
    np.testing.assert_allclose(rows.grad.numpy(), np.tile(detector.classifier.coef.numpy(), (20, 1)), atol=1e-6)
    with pytest.raises(UsageError, match="reads no text"):
        detector.without_text()


@pytest.mark.parametrize(
    "change",
    [{"coef": torch.zeros(DIM)}, {"coef": torch.zeros(DIM - 1, dtype=torch.float64)}, {"intercept": float("nan")}],
)
def test_what_cannot_score_is_not_saved(detector, change):
    with pytest.raises(Exception, match="nothing was saved"):
        replace(detector, classifier=replace(detector.classifier, **change)).save(Folder())
