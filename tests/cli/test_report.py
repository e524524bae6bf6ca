"""`clipfake report` passes its options on and prints what the page shows in one line."""

import json

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.report import report as library
from clipfake.report.options import PageOptions


def test_a_line_about_the_page(monkeypatch):
    seen = []
    found = {"total": {"n": 115, "flagged": 56, "errors": 3}}
    monkeypatch.setattr(library, "make_page", lambda *given: seen.extend(given) or found)
    done = CliRunner().invoke(app, ["report", "R", "--out", "a.html", "--run", "r", "--thumbnails", "4"])
    assert done.exit_code == 0, done.output
    assert seen == ["R", "a.html", PageOptions(run_id="r", shown=4)]
    assert done.stdout == "115 items, 56 flagged as fake, 3 errors -> a.html\n"
    assert json.loads(CliRunner().invoke(app, ["report", "R", "--out", "a.html", "--json"]).stdout) == found
