"""`clipfake detector` shows what is in the bundle, refuses what no longer holds, and says what scores alike."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Sigmoid, Temperature
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.inspection import compare, load, summary, verify
from clipfake.encoder import describe
from clipfake.encoder import load as load_encoder
from clipfake.errors import UsageError
from clipfake.storage.store import Store


@pytest.fixture(scope="module")
def bundle(detector: Path) -> Detector:
    return load(str(detector))


def saved(detector: Detector, folder: Path) -> str:
    detector.save(Store(f"file://{folder}"))
    return str(folder)


def test_verify_states_how_far_off_the_card_is(bundle):
    checks = verify(bundle)
    assert [(check.decoder, check.precision) for check in checks] == [("exact", "fp32"), ("exact", "bf16")]
    assert all(check.problem is None and check.deviation <= check.allowed for check in checks)
    assert 0 < checks[1].deviation > checks[0].deviation


def test_verify_looks_at_further_decoders_too(bundle):
    """Untrained weights hardly tell the card by one decoder from that by another, so the right one is off by 0."""
    card = load_encoder(describe("ViT-S-32-alt/untrained", decoder="fast")).test_card_embedding()
    listing = replace(bundle, decoders=(FurtherDecoder("fast", 3_000, 0, 0.0, "fp32", card),))
    checks = {(check.decoder, check.precision): check for check in verify(listing)}
    assert list(checks) == [("exact", "fp32"), ("exact", "bf16"), ("fast", "fp32"), ("fast", "bf16")]
    assert checks["fast", "fp32"].deviation == 0
    off = replace(bundle, decoders=(FurtherDecoder("fast", 3_000, 0, 0.0, "fp32", card + np.float32(1e-3)),))
    assert [check.decoder for check in verify(off) if check.problem] == ["fast"]


def test_verify_refuses_what_no_longer_holds(bundle, detector, tmp_path):
    off = saved(replace(bundle, test_card=bundle.test_card + np.float32(1e-3)), tmp_path / "off")
    checks = verify(load(off))
    assert "test card" in checks[0].problem
    assert checks[1].problem is None  # within what bf16 allows
    tampered = Path(shutil.copytree(detector, tmp_path / "tampered"))
    text = (tampered / "detector.json").read_text()
    (tampered / "detector.json").write_text(text.replace('"tpr": 0.2', '"tpr": 0.9'))
    with pytest.raises(UsageError, match="changed after"):
        load(str(tampered))
    with pytest.raises(UsageError, match="another encoder"):
        verify(replace(bundle, encoder_fingerprint="0" * 64))


def test_diff_of_the_same(bundle):
    assert compare(bundle, bundle).alike == "the same"
    renamed = replace(bundle, provenance={"precision": "fp32", "options": {"seed": 7}})
    found = compare(bundle, renamed)
    assert (found.alike, found.arrays) == ("the same", [])
    assert found.differences == [("provenance.options", None, {"seed": 7})]


def test_diff_within_the_tolerance_between_machines(bundle):
    svm = replace(bundle.classifier, intercept=bundle.classifier.intercept + 1e-6)
    found = compare(bundle, replace(bundle, classifier=svm, thresholds=()))
    assert found.alike == "different"  # without thresholds other verdicts
    found = compare(bundle, replace(bundle, classifier=svm))
    assert found.alike == "within tolerance"
    assert found.measured["decision"] == pytest.approx(1e-6, rel=1e-3)


def test_diff_of_what_scores_differently(bundle):
    other = replace(
        bundle,
        calibrator=Temperature(1.0) if isinstance(bundle.calibrator, Sigmoid) else Sigmoid(-1, 0),
        classifier=replace(bundle.classifier, dual_coef=bundle.classifier.dual_coef * 1.5),
        reference=replace(bundle.reference, points=bundle.reference.points[:100]),
    )
    found = compare(bundle, other)
    assert found.alike == "different"
    assert found.arrays == ["classifier.dual_coef", "reference.points"]
    assert "calibrator.kind" in {name for name, _, _ in found.differences}
    x = torch.cat([bundle.reference.points, other.reference.points]).numpy()
    least = np.abs(bundle.score(x).decision - other.score(x).decision).max()
    assert found.measured["decision"] >= least > 0.01
    assert found.measured["unfamiliarity"] > 0


def test_diff_of_other_encoders_compares_no_scores(bundle):
    found = compare(bundle, replace(bundle, encoder_fingerprint="0" * 64))
    assert (found.alike, found.measured) == ("another encoder", {})


def test_a_detector_without_reference_points_is_shown_and_compared(bundle):
    old = replace(bundle, reference=None, schema_version=1)
    assert summary(old)["unfamiliarity"] is None
    assert "unfamiliarity" not in compare(bundle, old).measured
    assert "expected_precision" not in summary(bundle)


def test_verify_with_a_moved_encoder_keeps_the_detectors_feature_and_decoder(bundle, monkeypatch):
    asked = []

    def describe(*given: str) -> None:
        asked.append(given)
        raise UsageError("enough")

    monkeypatch.setattr("clipfake.encoder.describe", describe)
    moved = replace(bundle, encoder={**bundle.encoder, "feature": "penultimate", "decoder": "fast"})
    with pytest.raises(UsageError, match="enough"):
        verify(moved, "ViT-B-32/elsewhere.pt")
    assert asked == [("ViT-B-32/elsewhere.pt", "penultimate", "fast")]
