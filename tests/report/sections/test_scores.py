"""Scores: a histogram that outliers do not stretch, and what speaks against the verdicts."""

import pytest

from clipfake.report.sections.scores import SECTION


def test_every_score_is_in_the_histogram_and_outliers_do_not_stretch_it(summarised, row):
    rows = [row(f"{i}", decision=i / 1000) for i in range(1000)] + [row("far", decision=1e6)]
    found = summarised(rows)["histogram"]
    assert sum(map(sum, (found["real"], found["unsure"], found["fake"]))) == 1001
    assert found["edges"][0] <= 0
    assert 2 <= found["edges"][-1] < 1e6
    assert found["fake"][-1] == 1


def test_a_report_of_errors_alone_has_a_summary(summarised, row):
    found = summarised([row("a", status="corrupt", error=None)])
    assert found["histogram"] is None
    assert found["highest"] == []
    assert found["unfamiliar"]["measured"] == 0


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        ({"flag": {"fpr": None}}, "bad", "no threshold"),
        ({"flag": {"fpr": 0.05}}, "care", "nothing is called more than unsure"),
        ({"total": {"n": 1000, "scored": 1000, "flagged": 9, "errors": 0}}, "care", "may be false alarms"),
        ({"unfamiliar": {"measured": 1000, "0.99": 200}}, "bad", "mean little"),
        ({"unfamiliar": {"measured": 1000, "0.99": 50}}, "care", "usual"),
        ({"unfamiliar": {"measured": 0, "0.99": 0}}, "care", "not measured"),
    ],
)
def test_what_speaks_against_is_said(counted, change, tone, says):
    doubts = dict(SECTION.doubts(counted(**change)))
    assert says in doubts[tone]


def test_else_nothing_does(counted):
    assert all(tone == "good" for tone, _ in SECTION.doubts(counted()))
