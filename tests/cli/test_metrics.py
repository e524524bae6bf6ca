"""The tables of a detector's figures."""

from types import SimpleNamespace

from clipfake.cli.metrics import print_candidates, print_generators, print_thresholds
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


def test_a_threshold_names_its_guarantee_and_the_worst_source(capsys):
    rates = {"out_of_fold": {"0.05": [{"source": "b", "fpr": 0.06}]},
             "source_left_out": {"0.05": [{"source": "", "fpr": 0.125}, {"source": "b", "fpr": 0.05}]}}  # fmt: skip
    one = Threshold(0.05, 1.25, 400, 77)
    print_thresholds(SimpleNamespace(thresholds=(one,), metrics={"source_rates": rates}))
    printed = " ".join(capsys.readouterr().out.split())
    assert "77 units" in printed and "(no name) 12.5%" in printed
    print_thresholds(SimpleNamespace(thresholds=(Threshold(0.05, 1.25, 400),), metrics={}))
    assert " nothing " in capsys.readouterr().out


def test_the_candidates_and_which_was_chosen(capsys):
    table = [{"model": "linear", "auc": 0.9, "behind": 0.01, "error": 0.02},
             {"model": "head", "auc": 0.91, "behind": 0.0, "error": 0.0}]  # fmt: skip
    print_candidates({"candidates": table, "model": "linear"})
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith((" linear", " head"))]
    assert lines == [["linear", "0.900", "0.010", "0.020", "chosen"], ["head", "0.910", "0.000", "0.000"]]
    print_candidates({"candidates": None})
    assert not capsys.readouterr().out
