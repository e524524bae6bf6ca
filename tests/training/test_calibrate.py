"""Calibration where a detector is used: one number from a hundred images, guarantees where the units suffice."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_rows import labelled

from clipfake.corpus.layouts.base import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.linear import Linear
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold
from clipfake.scoring import executor
from clipfake.scoring.embed import embed
from clipfake.scoring.options import ScanOptions
from clipfake.storage.store import Store
from clipfake.training import calibrate as library
from clipfake.training.calibrate import _thresholds, calibrate, calibrated, fit_shift

ENCODER = "ViT-S-32-alt/untrained"
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


@pytest.fixture
def nothing_else(monkeypatch):
    """Calibrates in this process, whatever Ray an earlier test left: few images are embedded here."""
    monkeypatch.setattr(executor, "at_hand", lambda: False)

    def run(detector, labelled, out, **options):
        return calibrate(str(detector), str(labelled), str(out), ScanOptions(**options), lambda _: lambda n: None)

    return run


@pytest.fixture
def corpus(pictures, tmp_path):
    """40 pictures in real/ and fake/, and labels.csv, which leaves one of each unlabelled."""
    rows = ["image_path,label"]
    for i, path in enumerate(sorted(pictures.iterdir())):
        folder = tmp_path / "corpus" / ("real", "fake")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
        rows.append(f"corpus/{folder.name}/{path.name},{i % 2 if i >= 2 else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "corpus"


def test_labelled_images_give_what_their_embeddings_give_and_a_corrected_label_counts(
    nothing_else, detector, corpus, tmp_path
):
    labels = tmp_path / "labels.csv"
    embed(str(labels), ENCODER, str(tmp_path / "emb"), ScanOptions(layout="csv"), lambda _: lambda n: None)
    expected = nothing_else(detector, tmp_path / "emb", tmp_path / "a").detector
    found = nothing_else(detector, labels, tmp_path / "b").detector
    assert found.fingerprint == expected.fingerprint == Detector.load(Store(f"file://{tmp_path / 'b'}")).fingerprint
    assert found.provenance["calibrated"]["reals"] == 19
    labels.write_text(labels.read_text().replace("10.jpg,0", "10.jpg,1"))
    write_manifest(f"file://{labels}", "csv", LayoutOptions(), Store(f"file://{tmp_path / 'manifest'}"))
    again = nothing_else(detector, tmp_path / "manifest", tmp_path / "b").detector.provenance["calibrated"]
    assert (again["reals"], again["fakes"]) == (18, 20)
    with pytest.raises(UsageError, match="--precision does nothing for stored embeddings"):
        nothing_else(detector, tmp_path / "emb", tmp_path / "a", precision="fp32")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]  # nothing is left beside it


def test_what_is_not_labelled_is_refused_before_anything_is_embedded(
    nothing_else, detector, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(library, "read_labelled", lambda *_, **__: pytest.fail("embedded"))
    with pytest.raises(UsageError, match=r"0 real images are labelled: give 10 at least.*--layout says"):
        nothing_else(detector, corpus, tmp_path / "out")
    (tmp_path / "few.csv").write_text("\n".join((tmp_path / "labels.csv").read_text().splitlines()[:20]))
    with pytest.raises(UsageError, match="9 real images are labelled"):
        nothing_else(detector, tmp_path / "few.csv", tmp_path / "out")
    with pytest.raises(UsageError, match="lies in the corpus"):
        nothing_else(detector, corpus, corpus / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
