"""`clipfake nightly` prints one line of JSON, names each night that failed, and exits as the worst of them."""

import json
from datetime import date

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.operate import nightly as library


@pytest.mark.parametrize("code", [0, 1, 4])
def test_one_line_for_machines_and_one_for_each_night_that_failed(monkeypatch, code):
    seen = []
    nights = [{"date": date(2026, 11, 1), "error": None}, {"date": date(2026, 11, 2), "error": "the store is down"}]

    def nightly(*given):
        seen.extend(given)
        return {"exit_code": code, "nights": nights}

    monkeypatch.setattr(library, "nightly", nightly)
    given = ["nightly", "s3://c/{date}", "--date", "2026-11-01..2026-11-02", "--detector", "D", "--out", "R"]
    done = CliRunner().invoke(app, [*given, "--pages", "P", "--again", "5"])
    assert done.exit_code == code
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["nights"][1]["date"] == "2026-11-02"
    assert done.stderr.splitlines() == ["clipfake: 2026-11-02: the store is down"]
    assert seen[:5] == ["s3://c/{date}", [date(2026, 11, 1), date(2026, 11, 2)], "D", "R", "P"]
    assert seen[5].again == 5
