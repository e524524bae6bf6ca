"""`clipfake prevalence` prints a line a group, what was corrected for, and why to doubt it."""

from types import SimpleNamespace

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.report import prevalence as library


def test_shares_in_per_cent_and_the_doubts(monkeypatch):
    shares = {"value": 0.125, "low": 0.1, "high": None, "unlike": None}
    whole = SimpleNamespace(n=200, called=50, **shares, doubts=["no fakes known"], by_source=True)
    rates = SimpleNamespace(tpr=0.9, fakes=40, fpr=0.05, reals=60, decision=1.5)
    found = SimpleNamespace(whole=whole, groups={"shop": whole}, rates=rates)
    monkeypatch.setattr(library, "prevalence", lambda *given: found)
    chosen = []

    def choose(detector, out):
        chosen.append(detector)
        return SimpleNamespace(load=lambda: SimpleNamespace(fingerprint="f"))

    monkeypatch.setattr("clipfake.scoring.chosen_detector.named_or_of_folder", choose)
    assert CliRunner().invoke(app, ["prevalence", "R"]).exit_code == 0
    done = CliRunner().invoke(app, ["prevalence", "R", "--detector", "D"])
    assert chosen == [None, "D"]
    assert done.exit_code == 0, done.output
    (shop,) = (line.split() for line in done.stdout.splitlines() if line.startswith(" shop"))
    assert shop == ["shop", "200", "25.00%", "12.50%", "10.00%", "-", "-", "yes"]
    assert "a TPR of 90.0% (of 40 fakes) and an FPR of 5.00% (of 60 reals)" in done.stdout
    assert "any mix of the generators and of the sources" in done.stdout
    assert done.stdout.endswith("doubtful: no fakes known\n")
