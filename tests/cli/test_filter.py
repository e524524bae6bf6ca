"""`clipfake filter` says how many items stay, and hands its options on."""

import json

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.scoring import filter as library
from clipfake.scoring.filter import FilterSummary

COMMAND = ["filter", "CORPUS", "REPORTS", "--keep", "verdict = 'real'", "--out", "CLEAN"]


def test_counts_are_said_in_a_sentence_or_as_json(monkeypatch):
    seen = []

    def told(source, reports, out, options, num_cpus):
        seen.append((source, reports, out, options.keep, options.without_row, options.layout))
        return FilterSummary(10, 7, 3, 1, 2, 1)

    monkeypatch.setattr(library, "filter_corpus", told)
    printed = CliRunner().invoke(app, COMMAND).stdout
    expected = "10 items: 7 kept, 3 dropped, 1 of them without a row -> 3 files in CLEAN"
    assert " ".join(printed.split()) == expected
    assert json.loads(CliRunner().invoke(app, [*COMMAND, "--json", "--without-row", "keep"]).stdout)["kept"] == 7
    assert [one[4] for one in seen] == ["drop", "keep"]
    assert seen[0][:4] == ("CORPUS", "REPORTS", "CLEAN", "verdict = 'real'") and seen[0][5] == "images"


def test_a_dry_run_says_would(monkeypatch):
    monkeypatch.setattr(library, "filter_corpus", lambda *args: FilterSummary(2, 1, 1))
    assert "1 would be kept" in CliRunner().invoke(app, [*COMMAND, "--dry-run"]).stdout


def test_a_wrong_choice_is_one_line():
    done = CliRunner().invoke(app, [*COMMAND, "--without-row", "perhaps"])
    assert done.exit_code and "one of drop, keep" in (done.output + str(done.exception))
