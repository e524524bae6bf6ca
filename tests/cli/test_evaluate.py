"""`clipfake evaluate` prints the worst cell first, the failed ones with their reason, and intervals where there are."""

from typing import Any

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError
from clipfake.evaluation import evaluate as library


def measured(name: str, balanced: float | None, **more: Any) -> dict[str, Any]:
    return {
        "tested_on": name, "error": None, "seed": 0, "n": 30, "reals": 10, "fakes": 20, "balanced_accuracy": balanced,
        "balanced_accuracy_low": None, "balanced_accuracy_high": None, "real_accuracy": None, "fake_accuracy": 0.5,
        "auc": 0.75, "auc_low": 0.7, "auc_high": 0.8, "ap": 0.5, **more,
    }  # fmt: skip


CELLS = [
    {**measured("glide", 0.9), "trained_on": "gan", "train_fakes": 5},
    {**measured("", 0.6), "trained_on": "gan", "train_fakes": 5},
    {"tested_on": "dalle", "trained_on": "gan", "train_fakes": 0, "seed": 0, "error": "too few fakes"},
]
RESULT = {
    "worst": {**measured("", 0.6), "protocol": "matrix", "trained_on": "gan"},
    "notes": ["no official split"],
    "detector": {"thresholds": []},
    "protocols": {"matrix": {"about": "trained on one", "cells": CELLS, "macro": {}, "seeds": []}},
}


@pytest.fixture
def evaluated(monkeypatch):
    monkeypatch.setattr(library, "evaluate", lambda *given: RESULT)
    return lambda *options: CliRunner().invoke(app, ["evaluate", "EMB", "--detector", "D", *options])


def test_the_worst_first_and_what_failed_last(evaluated):
    done = evaluated("--protocol", "matrix")
    assert done.exit_code == 0, done.output
    first, second, *_ = done.stdout.splitlines()
    assert first == "Worst: matrix, trained on gan, tested on (none): balanced accuracy 0.600, AUC 0.750"
    assert second == "No official split."
    rows = [line for line in done.stdout.splitlines() if "->" in line]
    assert rows[0].startswith(" gan -> (none)") and rows[1].startswith(" gan -> glide")
    assert rows[0].split()[3:] == ["10/20", "0.600", "-", "0.500", "0.750", "[0.700,", "0.800]", "0.500", "67%"]
    assert done.stdout.rstrip().endswith("gan -> dalle: no detector: too few fakes")


def test_a_page_that_cannot_be_written_is_refused_before_the_work(evaluated, monkeypatch):
    monkeypatch.setattr(library, "evaluate", None)
    error = evaluated("--html", "card.txt").exception
    assert isinstance(error, UsageError) and "--html is the page's file" in str(error)
