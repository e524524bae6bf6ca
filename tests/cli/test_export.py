"""`clipfake export` as typed: what it says, and that `clipfake import` takes it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.encoder import describe

ENCODER = "ViT-S-32-alt/untrained"


def run(*words):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_there_and_back(tmp_path):
    vectors = np.eye(describe(ENCODER).dim, dtype=np.float16)[:5]
    vectors[4] = 0
    table = pa.table({"key": list("abcde"), "embedding": list(vectors)})
    (tmp_path / "theirs").mkdir()
    pq.write_table(table, tmp_path / "theirs" / "a.parquet")
    said = run("import", tmp_path / "theirs", "--layout", "parquet", "--encoder", ENCODER, "--out", tmp_path / "own")
    assert "5 embeddings in 1 files, 1 without a finite vector" in said
    said = run("export", tmp_path / "own", "--format", "clip-retrieval", "--out", tmp_path / "again")
    assert "4 embeddings in 1 files, 1 rows left out" in said
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "img_emb" / "img_emb_0000.npy"), vectors[:4])
    run("import", tmp_path / "again", "--encoder", ENCODER, "--out", tmp_path / "back")
