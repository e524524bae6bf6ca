"""`clipfake audit` prints what tells the label, and exits with 2 where the encoding alone does, unless allowed."""

import json

import pytest
from typer.testing import CliRunner

from clipfake.audit import audit as library
from clipfake.audit.findings import Audit
from clipfake.cli.app import app
from clipfake.errors import UsageError

GENERATOR = {
    "generator": None,
    "reals": 3,
    "fakes": 4,
    "format": "jpeg",
    "size": 0.5,
    "quality": None,
    "bytes": 1.23456,
}
COPIES = {f"{kind}{what}": 1 for kind in ("", "across_classes_", "across_splits_") for what in ("sets", "items")}
FOUND = {
    "items": {"reals": 3, "fakes": 4},
    "judged": 7,
    "facts": {
        "format": [{"value": "jpeg", "reals": 3, "fakes": 0}, {"value": "png", "reals": 0, "fakes": 4}],
        "width": {"reals": [1, 2, 3, 4, 5], "fakes": None},
        "declared": [{"value": None, "reals": 3, "fakes": 4}],
    },
    "generators": [{**GENERATOR, "declared": 0.0}],
    "shortcuts": None,
    "duplicates": {"exact": {"with_both_labels": [["a", "b"]], **COPIES}},
}


@pytest.fixture
def audited(monkeypatch):
    def run(found: Audit, *options: str):
        monkeypatch.setattr(library, "audit", lambda source, options, progress: found)
        return CliRunner().invoke(app, ["audit", "M", *options])

    return run


def test_a_refusal_is_printed_with_its_tables_and_fails_unless_allowed(audited):
    found = Audit(FOUND, ["the encoding alone tells real from fake"], "the encoding alone tells real from fake")
    done = audited(found)
    assert isinstance(done.exception, UsageError) and done.exception.exit_code == 2
    assert "3 reals, 4 fakes; 7 judged\nThe encoding alone tells real from fake.\n" in done.stdout
    assert audited(found, "--allow-shortcuts").exit_code == 0
    assert json.loads(audited(found, "--json").stdout)["refusal"] == found.refusal


def test_facts_of_one_value_are_left_out_and_copies_with_both_labels_named(audited):
    done = audited(Audit(FOUND))
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["format", "png", "0", "4"] in lines
    assert not any(line[:1] == ["declared"] for line in lines)
    assert ["width", "median", "(5%", "to", "95%)", "3", "(2", "to", "4)", "-"] in lines
    assert "exact, both labels: a  b" in done.stdout
    assert done.stdout.endswith("Nothing but the picture was found to tell the label.\n")
