"""Whether to trust is answered by the weightiest of what the numbers say."""

import pytest

from clipfake.report.trust import trust


def found(**changed):
    return {
        "total": {"n": 1000, "scored": 1000, "flagged": 100, "errors": 0},
        "checks": [{"holds": True}],
        "flag": {"fpr": 0.01},
        "unfamiliar": {"measured": 1000, "0.99": 10},
        "drift": {"alarm": False, "findings": []},
        "bundle": {
            "encoder": {"weights": "openai"},
            "metrics": {"test": {"auc": 0.95}},
            "baseline": {"test": {"auc": 0.9}},
        },
    } | changed


def test_nothing_is_ever_simply_trusted():
    assert trust(found())["answer"] == "Within its limits"
    assert all(reason["tone"] == "good" for reason in trust(found())["reasons"])


@pytest.mark.parametrize(
    ("change", "tone", "says"),
    [
        ({"checks": [{"holds": False}]}, "bad", "reconcile"),
        ({"bundle": found()["bundle"] | {"encoder": {"weights": "untrained"}}}, "bad", "random weights"),
        ({"bundle": found()["bundle"] | {"baseline": {"test": {"auc": 0.99}}}}, "care", "linear SVM"),
        ({"bundle": None}, "care", "--detector"),
        ({"drift": {"alarm": True, "findings": [{"measure": "error rate", "alarm": True}]}}, "care", "error rate"),
        ({"flag": {"fpr": None}}, "bad", "no threshold"),
        ({"flag": {"fpr": 0.05}}, "care", "nothing is called more than unsure"),
        ({"total": found()["total"] | {"flagged": 9}}, "care", "may be false alarms"),
        ({"total": found()["total"] | {"errors": 100}}, "care", "no verdict"),
        ({"unfamiliar": {"measured": 1000, "0.99": 200}}, "bad", "mean little"),
        ({"unfamiliar": {"measured": 1000, "0.99": 50}}, "care", "usual"),
        ({"unfamiliar": {"measured": 0, "0.99": 0}}, "care", "not measured"),
    ],
)
def test_each_reason_is_found_and_comes_first(change, tone, says):
    given = trust(found(**change))
    assert given["tone"] == tone
    assert given["reasons"][0]["tone"] == tone
    assert says in given["reasons"][0]["text"]
