"""Drift is a doubt where it raises an alarm."""

import pytest

from clipfake.report.sections.drift import SECTION


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        ({"drift": {"alarm": True, "findings": [{"measure": "error rate", "alarm": True}]}}, "care", "error rate"),
    ],
)
def test_what_speaks_against_is_said(counted, change, tone, says):
    ((found, text),) = SECTION.doubts(counted(**change))
    assert (found, says in text) == (tone, True)


def test_else_nothing_does(counted):
    assert all(tone == "good" for tone, _ in SECTION.doubts(counted()))
