"""What `clipfake train` prints: notes as sentences, the head against the raw embedding, the detector; or JSON."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.inspection import load
from clipfake.measures.metrics import metrics
from clipfake.training import train as training


@pytest.fixture
def trained(detector, monkeypatch):
    """What the training gives back, and what the command asked of it."""
    bundle = load(str(detector))
    y, decision = np.arange(20) % 2, np.linspace(-1, 1, 20)
    figures = metrics(y, decision, (decision + 1) / 2, decision > 0)
    tables = {part: {"detector": dict(figures), "baseline": {**figures, "auc": 0.95}} for part in ("train", "test")}
    notes = ["split as the source did"]
    made = SimpleNamespace(detector=bundle, head=None, tables=tables, by_generator={}, notes=notes, asked=[])
    monkeypatch.setattr(training, "train", lambda *asked: made.asked.append(asked) or made)
    return made


def run(*more: str):
    return CliRunner().invoke(app, ["train", "emb", "--out", "det", *more])


def test_options_reach_the_training_and_its_figures_stdout(trained):
    done = run("--model", "linear", "--seed", "7")
    assert done.exit_code == 0, done.output
    ((embeddings, out, options),) = trained.asked
    assert (embeddings, out, options.model, options.head.seed) == ("emb", "det", "linear", 7)
    assert "Split as the source did." in done.output
    assert f"detector {trained.detector.fingerprint[:16]} -> det" in done.output
    assert "UNTRAINED" in done.output
    assert "leave it out" not in done.output


@pytest.mark.parametrize("better", [0.96, 0.94])
def test_a_head_that_is_worse_than_no_head_is_said(trained, better):
    trained.head, trained.tables["test"]["detector"]["auc"] = object(), better
    assert ("leave it out" in run().output) == (better < 0.95)


def test_json_holds_the_figures_and_what_a_prevalence_makes_of_them(trained):
    assert set(json.loads(run("--json").output)) == {"fingerprint", "metrics", "baseline"}
    found = json.loads(run("--json", "--prevalence", "0.5").output)
    assert found["fingerprint"] == trained.detector.fingerprint
    assert found["expected_precision"]["at"]["0.1"]["precision"] == pytest.approx(0.2 / 0.3)


def test_a_prevalence_that_is_none_is_refused_before_the_training(trained):
    assert run("--prevalence", "1.5").exit_code != 0
    assert not trained.asked
