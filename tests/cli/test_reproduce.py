"""`clipfake reproduce` passes its options on, and prints a line an experiment."""

from typing import Any

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.reproduce import reproduce as library
from clipfake.reproduce.options import ReproduceOptions


def test_a_line_an_experiment_and_an_untrained_encoder_is_said(monkeypatch):
    seen: list[Any] = []

    def reproduce(*given: Any) -> list[dict[str, Any]]:
        seen.extend(given[:4])
        accuracy = {"value": 0.75, "low": 0.7, "high": 0.8}
        one = {
            "name": "image, a",
            "sizes": {"train": 7, "val": 1, "test": 2},
            "tables": {"test": {"accuracy": accuracy}},
        }
        return [one | {"baseline": 0.5, "text_alone": None, "trained_encoder": False}]

    monkeypatch.setattr(library, "reproduce", reproduce)
    done = CliRunner().invoke(
        app, ["reproduce", *["--artifact", "A", "--out", "O", "--encoder", "E", "--sets", "a,b", "--seed", "3"]]
    )
    assert done.exit_code == 0, done.output
    assert seen == ["A", "O", "E", ReproduceOptions(sets=("a", "b"), seed=3)]
    (line,) = (line.split() for line in done.stdout.splitlines() if line.startswith(" image, a"))
    assert line[2:] == ["7/1/2", "0.750", "0.700", "0.800", "0.500", "-"]
    assert "UNTRAINED" in done.stdout
