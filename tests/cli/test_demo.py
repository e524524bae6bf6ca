"""`clipfake demo` prints the detector, each family left out, and the crawl's statuses."""

from types import SimpleNamespace

from typer.testing import CliRunner

from clipfake.cli import demo as command
from clipfake.cli.app import app
from clipfake.operate import demo as library


def test_what_it_prints(monkeypatch):
    shares = {"reals": 5, "fakes": 6, "real_accuracy": 0.8, "fake_accuracy": 0.5}
    left_out = {
        "patch": {**shares, "auc": 0.75, "auc_low": 0.625, "auc_high": 0.875},
        "nearest": {**shares, "auc": 0.375, "auc_low": 0.25, "auc_high": 0.5},
    }
    result = SimpleNamespace(shipped=None, trained="trained", left_out=left_out, scored="scored")
    printed = []
    monkeypatch.setattr(library, "run_demo", lambda *given: result)
    monkeypatch.setattr(command, "print_training", lambda *given: printed.append(given))
    monkeypatch.setattr(command, "finish", lambda *given, **more: printed.append(given))
    done = CliRunner().invoke(app, ["demo", "--out", "O"])
    assert done.exit_code == 0, done.output
    assert printed == [("trained", "O/detector"), ("scored", "O/reports")]
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    rows = ["nearest 5 6 0.800 0.500 0.375 [0.250, 0.500]", "patch 5 6 0.800 0.500 0.750 [0.625, 0.875]"]
    assert [line for line in lines if line in rows] == rows  # the worst first
    assert any("wrong way round (AUC below 0.5) on nearest:" in line for line in lines)
