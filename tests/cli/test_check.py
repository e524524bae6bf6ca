"""`clipfake check`: an answer for each picture, whatever it is; the exit code says whether all were read."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipfake.cli import check
from clipfake.cli.app import app
from clipfake.detector.named import load_detector
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold


def run(*words: object):
    return CliRunner().invoke(app, ["check", *map(str, words)])


def test_one_picture_is_answered_and_a_folder_is_its_images(detector, pictures, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(pictures / "00.jpg", tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = run(tmp_path, pictures / "01.jpg", "--detector", detector, "--json")
    assert found.exit_code == 0, found.output
    answers = json.loads(found.stdout)
    assert [Path(row["item_id"]).name for row in answers["images"]] == ["a.jpg", "b.jpg", "01.jpg"]
    assert answers["images"][0]["decision"] == answers["images"][1]["decision"]
    assert all(row["verdict"] and row["how_sure"] for row in answers["images"])


def test_what_is_no_image_is_answered_too(detector, pictures, tmp_path):
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "empty").mkdir()
    files = [pictures / "01.jpg", tmp_path / "none\x1b[31m.jpg", tmp_path / "paper.pdf", tmp_path / "empty"]
    found = run(*files, "--detector", detector)
    assert found.exit_code == 3
    assert found.output.count("no answer") == 3
    assert "missing" in found.output
    assert "looks like PDF" in found.output
    assert "a folder, not an image" in found.output
    assert "random weights" in found.output
    assert "4 images: " in found.output
    assert "3 without an answer" in found.output
    assert "\x1b" not in found.output


def test_a_large_folder_is_for_score(tmp_path, pictures):
    for i in range(check.MOST + 1):
        (tmp_path / f"{i:03d}.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="clipfake score"):
        check.images_at(str(tmp_path))
    (tmp_path / "000.jpg").unlink()
    assert len(check.images_at(str(tmp_path))) == check.MOST


def test_a_detector_that_is_not_there(pictures):
    found = run(pictures / "01.jpg", "--detector", "field/v0")
    assert isinstance(found.exception, UsageError)
    assert "no detector field/v0" in str(found.exception)


@pytest.fixture
def trained(detector: Path):
    """A detector of an encoder that says that it is trained, with two thresholds."""
    loaded = load_detector(str(detector))
    rates = {"0.05": {"tpr": 0.9, "fpr": 0.05}, "0.01": {"tpr": 0.8, "fpr": 0.01}}
    return replace(
        loaded,
        encoder={**loaded.encoder, "weights": "openai"},
        thresholds=(Threshold(0.05, 0.5, 2000), Threshold(0.01, 1.0, 2000)),
        metrics={"at_thresholds": rates},
    )


def row(decision: float, verdict: str, unfamiliarity: float | None = 0.5, declared: str | None = None):
    return {
        "item_id": "file:///a.jpg", "status": "ok", "error": None, "decision": decision, "probability": 0.5,
        "verdict": verdict, "unfamiliarity": unfamiliarity, "declared": declared,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "fpr", "sentence"),
    [
        (row(2.0, "fake"), 0.01, "Up to 1 % .* 45 % of the cases"),  # 0.01 x 0.8 / (0.01 x 0.8 + 0.99 x 0.01)
        (row(0.7, "unsure"), 0.05, "Up to 5 % of real images"),
        (row(0.0, "real"), None, "misses 10 %"),
        (row(2.0, "fake", 0.995), 0.01, "unlike"),
        (row(0.0, "real", 0.5, "c2pa: trainedAlgorithmicMedia"), None, "The file says"),
        (row(2.0, "fake", None, "c2pa: trainedAlgorithmicMedia"), 0.01, "Up to 1 %"),
    ],
)
def test_how_sure_one_may_be(trained, given, fpr, sentence):
    found = check.answer(given, trained)
    assert found["threshold_fpr"] == fpr
    assert re.search(sentence, found["how_sure"]), found["how_sure"]
    assert found["how_sure"] in check.as_text(found)


def test_a_high_probability_below_a_threshold_is_explained(trained):
    low, high = (f"{trained.probability_at(decision):.3f}" for decision in (0.5, 1.0))
    told = [
        check.as_text(check.answer(row(*given), trained)) for given in ((0.0, "real"), (0.7, "unsure"), (2.0, "fake"))
    ]
    assert f"; below the lowest threshold, for 5 % false positives, which is at {low}\n" in told[0]
    assert f"threshold for 5 % false positives, not that for 1 % false positives, which is at {high}\n" in told[1]
    assert "; it reaches the threshold for 1 % false positives\n" in told[2]


def test_without_thresholds_nobody_knows(trained):
    assert "no threshold" in check.how_sure(row(1.0, "fake"), replace(trained, thresholds=()))


def test_the_way_to_an_answer_imports_little(detector, pictures):
    """open_clip, Ray, scikit-learn and SciPy take seconds each, and an answer needs none of them."""
    code = (
        "import sys; from clipfake.cli import check; import clipfake.detector.named, clipfake.scoring.few_images; "
        "print([name for name in ('ray', 'sklearn', 'scipy', 'duckdb', 'open_clip') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
