"""Counts that do not agree are a reason not to trust."""

import pytest

from clipfake.report.sections.counts import SECTION


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        ({"checks": [{"holds": False}]}, "bad", "reconcile"),
    ],
)
def test_what_speaks_against_is_said(counted, change, tone, says):
    ((found, text),) = SECTION.doubts(counted(**change))
    assert (found, says in text) == (tone, True)


def test_else_nothing_does(counted):
    assert all(tone == "good" for tone, _ in SECTION.doubts(counted()))
