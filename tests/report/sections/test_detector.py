"""The detector is doubted where it is unknown, untrained or no better than a simple one."""

import pytest

from clipfake.report.sections.detector import SECTION


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        (
            {
                "bundle": {
                    "encoder": {"weights": "openai"},
                    "metrics": {"test": {"auc": 0.95}},
                    "baseline": {"test": {"auc": 0.99}},
                }
            },
            "care",
            "linear SVM",
        ),
        ({"bundle": {"encoder": {"weights": "untrained"}, "metrics": {}, "baseline": {}}}, "bad", "random weights"),
        ({"bundle": None}, "care", "--detector"),
    ],
)
def test_what_speaks_against_is_said(counted, change, tone, says):
    ((found, text),) = SECTION.doubts(counted(**change))
    assert (found, says in text) == (tone, True)


def test_else_nothing_does(counted):
    assert all(tone == "good" for tone, _ in SECTION.doubts(counted()))
