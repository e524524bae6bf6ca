"""`clipfake embed --for DETECTOR`: the embeddings that the detector can score."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector import named
from clipfake.errors import UsageError
from clipfake.scoring import embed as module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What the command asks for, in the place of doing it."""
    calls: list[tuple] = []

    def embed(source, encoder, out, options, progress, what):
        calls.append((encoder, what.feature, what.decoder, what.views))
        raise UsageError("nothing is done here")

    monkeypatch.setattr(module, "embed", embed)
    return calls


def run(*words: object):
    return CliRunner().invoke(app, ["embed", "corpus", "--out", "out", *map(str, words)])


def test_encoder_and_feature_are_the_detectors_and_so_is_the_decoder_by_default(asked, detector: Path, monkeypatch):
    loaded = named.load_detector(str(detector))
    other = replace(loaded, encoder={**loaded.encoder, "feature": "blocks:2,4", "decoder": "fast"})
    monkeypatch.setattr(named, "load_detector", lambda place: {"mine": loaded, "other": other}[place])
    run("--for", "mine")
    run("--for", "other", "--views", "2")
    run("--for", "other", "--decoder", "exact")
    assert asked == [
        ("ViT-S-32-alt/untrained", "projected", "exact", 0),
        ("ViT-S-32-alt/untrained", "blocks:2,4", "fast", 2),
        ("ViT-S-32-alt/untrained", "blocks:2,4", "exact", 0),
    ]
    for words, said in (
        (("--for", "mine", "--feature", "projected"), "leave --feature out"),
        (("--for", "mine", "--encoder", "RN50/untrained"), "give either --encoder"),
        ((), "give either --encoder"),
    ):
        assert said in str(run(*words).exception)
    assert len(asked) == 3
