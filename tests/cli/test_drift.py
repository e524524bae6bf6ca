"""`clipfake drift` prints a line a measure, and exits with 4 on an alarm alone."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.measures.drift_limits import DriftLimits
from clipfake.measures.shift import Difference
from clipfake.report import drift as library
from clipfake.report.drift import Drift

FAR = Difference("scores, KS", 0.4321, 0.1, 1e-9, True, "more above 2")
NEAR = Difference("scores, PSI", 0.01, 0.2, 0.5, False)


def run(monkeypatch: pytest.MonkeyPatch, found: Drift, *options: str) -> tuple[Any, list[Any]]:
    seen: list[Any] = []
    monkeypatch.setattr(library, "drift", lambda *given: seen.extend(given) or found)
    return CliRunner().invoke(app, ["drift", "R", *options]), seen


def test_an_alarm_exits_with_4_and_says_what_it_is(monkeypatch):
    found = Drift("run b", "3 earlier runs", [FAR, NEAR], ["formats are not compared"])
    done, seen = run(monkeypatch, found, "--run", "b", "--against", "validation", "--detector", "D")
    assert done.exit_code == 4
    assert seen == ["R", "b", "validation", "D", DriftLimits()]
    assert "0.432" in done.stdout and "ALARM" in done.stdout and "Formats are not compared.\n" in done.stdout
    assert done.stdout.endswith("run b against 3 earlier runs: drift\n")
    done, _ = run(monkeypatch, found, "--json")
    assert done.exit_code == 4 and json.loads(done.stdout)["alarm"] is True


def test_without_one_it_exits_with_0(monkeypatch):
    done, _ = run(monkeypatch, Drift("run b", "run a", [NEAR]))
    assert done.exit_code == 0
    assert "ALARM" not in done.stdout and done.stdout.endswith("run b against run a: no alarm\n")
