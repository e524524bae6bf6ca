"""`clipfake doctor` prints a line a finding, and exits with 1 where a run would fail."""

import json

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.operate import doctor as library
from clipfake.operate.checks import FAIL, OK, WARN, Finding
from clipfake.operate.options import DoctorOptions
from clipfake.scoring.options import JobOptions

FINDINGS = [
    Finding("auth", "", OK, "a token is asked for"),
    Finding("disk", "10.0.0.1", WARN, "9 of 100 GB free"),
    Finding("clock", "10.0.0.2", FAIL, "1000 s off"),
]


@pytest.mark.parametrize(("count", "code"), [(1, 0), (2, 0), (3, 1)])
def test_a_line_a_finding(monkeypatch, count, code):
    seen = []
    monkeypatch.setattr(library, "doctor", lambda question: seen.append(question) or FINDINGS[:count])
    done = CliRunner().invoke(app, ["doctor", "CORPUS", "--out", "R", "--scale-to", "3"])
    assert done.exit_code == code
    assert seen == [DoctorOptions(source="CORPUS", out="R", job=JobOptions(scale_to=3))]
    wanted = [
        ("ok", "auth", "cluster", "a token is asked for"),
        ("WARN", "disk", "10.0.0.1", "9 of 100 GB free"),
        ("FAIL", "clock", "10.0.0.2", "1000 s off"),
    ]
    assert [tuple(line.split(maxsplit=3)) for line in done.stdout.splitlines()] == wanted[:count]
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["exit_code"], len(found["findings"])) == (code, code, count)
