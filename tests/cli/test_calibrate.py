"""`clipfake calibrate` prints what the labelled images say before and after, and what is guaranteed."""

from types import SimpleNamespace

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.measures.thresholds import Threshold
from clipfake.scoring.options import ScanOptions
from clipfake.training import calibrate as library


def test_what_it_prints(monkeypatch):
    figures = {"reals": 60, "fakes": 50, "auc": 0.9, "brier": 0.1, "nll": 0.3}
    detector = SimpleNamespace(
        fingerprint="f" * 64, provenance={"parent": "a" * 64},
        thresholds=(Threshold(0.05, 0.25, 60, 60), Threshold(0.01, 0.5, 400, moved=True)),
        metrics={"before": {}, "at_thresholds": {"0.05": {"tpr": 0.75, "fpr": 0.05}}},
    )  # fmt: skip
    given = []

    def calibrate(*what):
        given.append(what[:-1])
        return library.Calibrated(detector, -0.125, {**figures, "ece": 0.2}, {**figures, "ece": 0.0625})

    monkeypatch.setattr(library, "calibrate", calibrate)
    done = CliRunner().invoke(app, ["calibrate", "DET", "--on", "EMB", "--out", "MINE", "--layout", "csv"])
    assert done.exit_code == 0, done.output
    assert given == [("DET", "EMB", "MINE", ScanOptions(layout="csv"))]
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in ("as it was 60 50 0.900 0.200 0.100 0.300", "calibrated 60 50 0.900 0.062 0.100 0.300"):
        assert line in lines
    assert "60 units" in done.stdout and "nothing: moved" in done.stdout and "TPR (labelled)" in done.stdout
    assert "Nothing is known of a moved threshold here" in done.stdout
    assert f"detector {'f' * 16}, from {'a' * 16} by -0.1250 -> MINE" in lines
