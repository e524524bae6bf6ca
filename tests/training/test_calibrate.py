"""Calibration where a detector is used: one number from a hundred images, guarantees where the units suffice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_rows import labelled

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.linear import Linear
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold
from clipfake.storage.store import Store
from clipfake.training.calibrate import _thresholds, calibrate, calibrated, fit_shift

SIGMOID = Sigmoid(-2.0, 0.0)
PARENT = (Threshold(0.05, 0.9, 400, 400), Threshold(0.01, 1.4, 400, 400))


def parent(dim=12):
    """Decides by the first four dimensions."""
    coef = torch.zeros(dim, dtype=torch.float64)
    coef[:4] = 0.5
    return Detector(
        encoder={"arch": "a", "weights": "w"}, encoder_fingerprint="e" * 64, head=None, classifier=Linear(coef, -0.8),
        calibrator=SIGMOID, thresholds=PARENT, test_card=np.zeros(dim, np.float32), test_card_tolerance={"fp32": 0.1},
        metrics={"test": {"auc": 0.9}}, provenance={"data_sha256": "other"},
    )  # fmt: skip


def elsewhere(rows, seed=0, by=-1.0):
    """Labelled rows whose decisions lie lower by `by`."""
    data = labelled(seed, rows)
    data.x[:, 0] += 2 * by
    return data


@pytest.mark.parametrize("calibrator", [SIGMOID, Temperature(1.0), Isotonic(np.arange(3.0), np.array([0.1, 0.4, 0.9]))])
def test_a_shifted_map_gives_at_f_what_the_map_gives_at_f_and_the_shift(calibrator):
    f = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(calibrator.shifted(0.7).probability(f), calibrator.probability(f + 0.7))


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_shift_is_found_whatever_the_share_of_fakes_that_were_labelled(share):
    random = np.random.default_rng(0)
    f = random.normal(size=200_000) * 2
    prior = np.log(share / (1 - share))
    calibrator = Sigmoid(-2.0, -prior)  # fitted where that share was fake
    y = (random.random(len(f)) < calibrator.probability(f)).astype(int)
    shares = y.mean()
    few = (y == 0) | (random.random(len(f)) < 0.1)  # nine of ten fakes are not labelled
    for mine in (np.ones(len(f), bool), few):
        assert fit_shift(f[mine] - 1.5, y[mine], calibrator, shares) == pytest.approx(1.5, abs=0.03)


def test_thresholds_move_along_or_are_fitted_anew_and_stay_in_order():
    moved = _thresholds(PARENT, 0.5, ())
    assert [(t.fpr, t.decision, t.units, t.moved) for t in moved] == [
        (0.05, pytest.approx(0.4), None, True), (0.01, pytest.approx(0.9), None, True),
    ]  # fmt: skip
    assert moved[0].fpr_interval() == (0.0, 1.0)
    anew = Threshold(0.05, 1.2, 80, 80)
    found = _thresholds(PARENT, 0.5, (anew,))
    assert found[0] == anew
    assert (found[1].decision, found[1].moved) == (1.2, True)  # not below the one of 5 %


def test_a_hundred_images_mend_calibration_and_rates_where_the_detector_has_moved():
    detector, data = parent(), elsewhere(100)
    found = calibrated(detector, data)
    assert found.shift == pytest.approx(1.0, abs=0.35)
    assert found.after["ece"] < found.before["ece"]
    assert found.before["at_thresholds"]["0.05"]["tpr"] < found.after["at_thresholds"]["0.05"]["tpr"]
    made = found.detector
    assert made.fingerprint != detector.fingerprint
    assert (made.provenance["parent"], made.provenance["data_sha256"]) == (detector.fingerprint, "other")
    assert [t.moved for t in made.thresholds] == [True, True]  # 50 units of reals
    np.testing.assert_array_equal(made.score(data.x).decision, detector.score(data.x).decision)
    many = calibrated(detector, elsewhere(1_400)).detector
    assert [(t.fpr, t.units, t.moved) for t in many.thresholds] == [(0.05, 700, False), (0.01, 700, False)]


def test_it_is_saved_and_read_again_and_an_unmoved_threshold_says_nothing_of_moving(tmp_path):
    store = Store(f"file://{tmp_path}")
    made = calibrated(parent(), elsewhere(200)).detector
    made.save(store)
    again = Detector.load(store)
    assert (again.fingerprint, again.thresholds, again.schema_version) == (made.fingerprint, made.thresholds, 3)
    assert [t.moved for t in again.thresholds] == [False, True]
    assert "moved" not in PARENT[0].described() and Threshold.from_dict(PARENT[0].described()) == PARENT[0]


def test_what_it_was_trained_on_and_too_few_are_refused():
    data = elsewhere(100)
    with pytest.raises(UsageError, match="was trained on these"):
        calibrated(replace(parent(), provenance={"data_sha256": data.digest}), data)
    with pytest.raises(UsageError, match=r"5 fake images are labelled: give 10"):
        calibrated(parent(), data.take(np.flatnonzero((data.y == 0) | (np.arange(100) < 10))))


def test_what_holds_no_embeddings_is_refused_with_the_command_that_makes_them(detector, tmp_path):
    with pytest.raises(UsageError, match=f"clipfake embed {tmp_path}/m --for {detector} --out EMB"):
        calibrate(str(detector), f"{tmp_path}/m", f"{tmp_path}/out")
    assert not (tmp_path / "out").exists()
