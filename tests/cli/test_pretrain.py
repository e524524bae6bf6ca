"""Pretraining is no command of users: no help shows it, the job reaches it."""

from typing import Any

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.images.synthetic.options import PairOptions
from clipfake.training import pretraining
from clipfake.training.pretrain_options import PretrainOptions


def test_the_job_gives_one_seed_to_pictures_and_weights(monkeypatch):
    seen: list[Any] = []

    def pretrain(*given: Any) -> dict[str, float]:
        seen.extend(given)
        return {"loss": 0.25, "told_apart": 0.5}

    monkeypatch.setattr(pretraining, "pretrain", pretrain)
    done = CliRunner().invoke(
        app, ["pretrain", "--out", "O", "--seed", "4", "--decoders", "3", "--steps", "9", "--num-cpus", "2"]
    )
    assert done.exit_code == 0, done.output
    assert seen == ["O", PretrainOptions(pairs=PairOptions(decoders=3, seed=4), steps=9, seed=4), 2]
    assert "O/weights.safetensors" in done.stdout
    assert "pretrain" not in CliRunner().invoke(app, ["--help"]).stdout
