"""`clipfake import` as typed, and what it is for: embeddings of others scored without an image."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.encoder import describe
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

ENCODER = "ViT-S-32-alt/untrained"  # the fixture detector's


def run(*words):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_scored_without_an_image_they_give_the_decisions_of_their_vectors(detector, tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(30, describe(ENCODER).dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"/gone/{i:02d}.jpg" for i in range(30)]
    (tmp_path / "theirs").mkdir()
    np.save(tmp_path / "theirs" / "vectors.npy", vectors)
    pq.write_table(pa.table({"path": names}), tmp_path / "theirs" / "names.parquet")
    said = run("import", tmp_path / "theirs", "--layout", "npy", "--encoder", ENCODER, "--out", tmp_path / "own")
    assert "30 embeddings in 1 files" in said
    assert "not verified" in said
    warned: list[str] = []
    monkeypatch.setattr("clipfake.scoring.score.log.warning", lambda said, *about: warned.append(said % about))
    run("score", tmp_path / "own", "--detector", detector, "--out", tmp_path / "reports")
    assert any("not verified" in said for said in warned)
    rows = pq.read_table(tmp_path / "reports").sort_by("item_id")
    assert rows["item_id"].to_pylist() == [uris.from_path(name) for name in names]
    expected = Detector.load(Store(f"file://{detector}")).score(vectors)
    np.testing.assert_allclose(rows["decision"].to_numpy(), expected.decision, atol=1e-4)
