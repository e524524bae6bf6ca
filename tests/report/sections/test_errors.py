"""Errors: one kind a reason, and a doubt where there are many."""

import pytest

from clipfake.report.sections.errors import SECTION


def test_errors_that_differ_in_numbers_are_one(summarised, row):
    rows = [row(f"{i}", status="truncated", error=f"ends at byte {i}") for i in range(5)]
    rows += [row("x", status="missing", error="not there"), row("y")]
    truncated, missing = summarised(rows)["errors"]
    assert (truncated["status"], truncated["n"], truncated["may_pass"], truncated["kinds"]) == (
        "truncated",
        5,
        False,
        1,
    )
    assert truncated["examples"] == [{"error": "ends at byte 0", "n": 5, "item_id": "file:///c/0"}]
    assert missing["may_pass"]


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        ({"total": {"n": 1000, "scored": 900, "flagged": 100, "errors": 100}}, "care", "no verdict"),
    ],
)
def test_what_speaks_against_is_said(counted, change, tone, says):
    ((found, text),) = SECTION.doubts(counted(**change))
    assert (found, says in text) == (tone, True)


def test_else_nothing_does(counted):
    assert all(tone == "good" for tone, _ in SECTION.doubts(counted()))
