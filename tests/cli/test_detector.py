"""`clipfake detector` on stdout: what a bundle is, whether it still holds, and how two differ."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.cli.detector import print_comparison
from clipfake.detector.inspection import load
from clipfake.errors import UsageError
from clipfake.storage.store import Store


def run(*arguments: str):
    return CliRunner().invoke(app, ["detector", *arguments])


@pytest.fixture(scope="module")
def bundle(detector):
    return load(str(detector))


def test_show_prints_the_bundle(bundle, detector):
    done = run("show", str(detector), "--prevalence", "0.01")
    assert done.exit_code == 0, done.output
    low, high = bundle.thresholds[0].fpr_interval()
    precision = 0.01 * 0.2 / (0.01 * 0.2 + 0.99 * 0.1)
    cells = (f"{low:.2%}", f"{high:.2%}", f"{precision:.3f}", "10.0%", "300 reference", "UNTRAINED")
    for cell in (bundle.fingerprint, "ViT-S-32-alt/untrained", *cells):
        assert cell in done.output, cell


def test_show_as_json_is_all_of_it(bundle, detector):
    shown = json.loads(run("show", str(detector), "--prevalence", "0.5", "--json").output)
    assert shown["fingerprint"] == bundle.fingerprint
    assert shown["thresholds"][0]["decision"] == bundle.thresholds[0].decision
    assert shown["expected_precision"]["at"]["0.1"]["precision"] == pytest.approx(0.2 / 0.3)
    assert shown["unfamiliarity"]["points"] == 300


def test_verify_says_that_it_holds_or_refuses_in_one_line(bundle, detector, tmp_path):
    done = run("verify", str(detector))
    assert done.exit_code == 0
    assert "is whole" in done.output
    replace(bundle, test_card=bundle.test_card + np.float32(1e-3)).save(Store(f"file://{tmp_path}/off"))
    done = run("verify", str(tmp_path / "off"))
    assert isinstance(done.exception, UsageError)
    assert "\n" not in str(done.exception)


def test_a_detector_differs_from_itself_in_nothing(detector):
    assert "score alike: same fingerprint" in run("diff", str(detector), str(detector)).output


def test_a_difference_is_shown_short_and_further_figures_are_counted(capsys):
    differences = [
        ("provenance.notes", None, "x" * 50),
        ("metrics.test.auc", 0.123456789, 0.5),
        ("metrics.test.brier", 0.1, 0.2),
        ("baseline.val.auc", 0.1, 0.2),
    ]
    measured = {"decision": 0.25, "test_card": 0.0}
    print_comparison(SimpleNamespace(differences=differences, arrays=["head.w"], measured=measured, alike="different"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        f"provenance.notes - {'x' * 37}...",
        "metrics.test.auc 0.123457 0.5",
        "array head.w differs",
        "and 2 more figures of metrics (--json has them)",
        "largest differences measured: decision 0.25, test card 0",
        "They score differently.",
    ):
        assert line in lines
