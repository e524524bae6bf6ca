"""`clipfake demo` prints the detector, the generator that training never saw, and the crawl's statuses."""

from types import SimpleNamespace

from typer.testing import CliRunner

from clipfake.cli import demo as command
from clipfake.cli.app import app
from clipfake.operate import demo as library


def test_what_it_prints(monkeypatch):
    held_out = {"reals": 5, "fakes": 6, "real_accuracy": 0.8, "fake_accuracy": 0.5, "auc": 0.75}
    result = SimpleNamespace(shipped=None, trained="trained", held_out=held_out, scored="scored")
    printed = []
    monkeypatch.setattr(library, "run_demo", lambda *given: result)
    monkeypatch.setattr(command, "print_training", lambda *given: printed.append(given))
    monkeypatch.setattr(command, "finish", lambda *given, **more: printed.append(given))
    done = CliRunner().invoke(app, ["demo", "--out", "O"])
    assert done.exit_code == 0, done.output
    assert printed == [("trained", "O/detector"), ("scored", "O/reports")]
    assert "0.750" in done.stdout
