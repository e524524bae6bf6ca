"""The tables of a detector's figures."""

from types import SimpleNamespace

from clipfake.cli.metrics import print_generators, print_thresholds
from clipfake.measures.thresholds import Threshold


def test_thresholds_with_the_precision_to_expect(capsys):
    threshold = Threshold(0.05, 1.25, 400)
    rates = {"at_thresholds": {"0.05": {"tpr": 0.5, "fpr": 0.1}}}
    print_thresholds(SimpleNamespace(thresholds=(threshold,), metrics=rates), 0.01)
    printed = capsys.readouterr().out
    precision = 0.01 * 0.5 / (0.01 * 0.5 + 0.99 * 0.05)
    for cell in ("5.0%", "1.2500", "400", "0.500", "0.100", f"{precision:.3f}", "where 0.01 of the images are fake"):
        assert cell in printed
    print_thresholds(SimpleNamespace(thresholds=(threshold,), metrics={}), 0.01)
    assert "No expected precision" in capsys.readouterr().out
    print_thresholds(SimpleNamespace(thresholds=(), metrics={}))
    assert "No threshold" in capsys.readouterr().out


def test_a_generator_without_a_measure_has_a_dash(capsys):
    print_generators({"gan": {"reals": 0, "fakes": 9, "real_accuracy": None, "fake_accuracy": 0.5, "auc": None}})
    (line,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" gan"))
    assert line == ["gan", "0", "9", "-", "0.500", "-"]
