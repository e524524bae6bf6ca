"""Options that do not belong together are refused in one line; the tables say what the sections hold."""

import pytest

from clipfake.cli.robustness import print_robustness, sections
from clipfake.errors import UsageError
from clipfake.evaluation.options import RereadOptions


@pytest.mark.parametrize(
    ("given", "out", "says"),
    [
        ({"conditions": ("jpeg",)}, "out", "give it too"),
        ({"enlarger": "a:b"}, "out", "give it too"),
        ({"robustness": True}, None, "give --out too"),
        ({"robustness": True, "conditions": ("jpeg", "fog-1")}, "out", "no condition 'fog-1'"),
    ],
)
def test_what_does_not_belong_together_is_refused(given, out, says):
    with pytest.raises(UsageError, match=says):
        sections("emb", "detector", out, None, RereadOptions(**given), None)


def test_nothing_is_added_unless_it_is_asked_for(capsys):
    assert sections("emb", "detector", None, None, RereadOptions(), None) == {}
    asked = sections("emb", "detector", "out", None, RereadOptions(robustness=True, adversarial=4), None)
    assert list(asked) == ["robustness", "adversarial"]
    print_robustness({})
    assert capsys.readouterr().out == ""


def test_the_tables_name_the_worst_condition_and_what_was_left_out(capsys):
    about = {"n": 4, "real_accuracy": 0.5, "fake_accuracy": 0.25, "auc": 0.75, "flips": 0.5, "to_real": 0.125,
             "to_fake": 0.0, "balanced_drop_low": 0.0, "balanced_drop_high": 0.0,
             "at_thresholds": {"0.05": {"tpr": 0.3125, "fpr": 0.0625}}}  # fmt: skip
    drops = (("clean", 0.0), ("blur-4", 0.375), ("jpeg-30", 0.25))
    rows = [
        {"condition": name, "kind": name.partition("-")[0], "balanced_accuracy": 0.875 - drop, **about}
        | {"balanced_drop": drop}
        for name, drop in drops
    ]
    struck = [{"epsilon": epsilon, "balanced_accuracy": 0.5, **about} for epsilon in (0, 8)]
    through = [{**row, "fake_accuracy": 0.8125} for row in struck]
    theirs = {"rule": "linear SVM on 30 rows", "reals": 14, "fakes": 16, "auc": 0.6875}
    print_robustness(
        {
            "robustness": {"items": 4, "left_out": {"missing": 3}, "conditions": rows},
            "adversarial": {
                "items": 4,
                "unreadable": 2,
                "steps": 20,
                "norm": "L-infinity",
                "by_epsilon": struck,
                "transfer": {"by_epsilon": through, "surrogate": theirs},
            },
        }
    )
    found = capsys.readouterr().out
    assert "Worst: blur-4, balanced accuracy 0.500." in found
    assert "Left out: 3 missing." in found
    assert "Left out: 2 unreadable." in found
    assert "FPR at 5.0%" in found
    assert "to fool a linear SVM on 30 rows (14 real, 16 fake), whose AUC on them is 0.688" in " ".join(found.split())
    assert found.index("adversarial:") < found.index("transfer:") < found.index("0.812")
    for cell in ("jpeg-30", "0.062", "12.5%", "clean"):
        assert cell in found
