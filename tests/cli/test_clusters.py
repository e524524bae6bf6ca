"""`clipfake clusters` passes its options on, and prints a line a cluster."""

from typing import Any

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.explore import clusters as library
from clipfake.explore.options import ClusterOptions


def test_a_line_a_cluster(monkeypatch):
    seen: list[Any] = []

    def clusters(*given: Any) -> dict[str, Any]:
        seen.extend(given)
        full = {"items": 7, "mean_cosine": 0.5, "reals": 3, "fakes": 4, "generators": {"": 3, "gan": 4}}
        empty = {"items": 0, "mean_cosine": None, "reals": 0, "fakes": 0, "generators": {}}
        numbered = [{"cluster": i, **one} for i, one in enumerate((full, empty))]
        return {"clusters": numbered, "steps": 5, "mean_cosine": 0.25}

    monkeypatch.setattr(library, "clusters", clusters)
    done = CliRunner().invoke(app, ["clusters", "EMB", "--out", "O", "--k", "2", "--steps", "9", "--num-cpus", "1"])
    assert done.exit_code == 0, done.output
    assert seen == ["EMB", "O", ClusterOptions(k=2, steps=9, num_cpus=1)]
    assert "(none) 3, gan 4" in done.stdout
    assert "5 steps, mean cosine to the centre 0.2500 -> O" in done.stdout
