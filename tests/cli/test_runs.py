"""`clipfake runs` prints a line a run, who holds the folder, and what to do about open work."""

from dataclasses import make_dataclass

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.operate import runs as library

Run = make_dataclass("Run", ["run_id", "state", "command", "rows", "errors", "seconds", "open_items"])
Holder = make_dataclass("Holder", ["name", "refreshed"])
Runs = make_dataclass("Runs", ["runs", "holders"])


def test_a_line_a_run_and_what_is_open(monkeypatch):
    done, killed = Run("r1", "done", "score", 7, 1, 2.4, 0), Run("r2", "open", None, None, None, None, 5)
    monkeypatch.setattr(library, "runs", lambda place: Runs([done, killed], [Holder("r3", "now")]))
    printed = CliRunner().invoke(app, ["runs", "R"]).stdout
    lines = [line.split() for line in printed.splitlines()]
    assert ["r1", "done", "score", "7", "1", "2", "0"] in lines
    assert ["r2", "open", "-", "-", "-", "-", "5"] in lines
    assert "claimed by r3, last refreshed now" in printed
    assert "run the same command again" in printed
