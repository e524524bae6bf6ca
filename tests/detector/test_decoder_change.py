"""Verdicts of the same images by two decoders are counted, and a decoder that changes too many is not added."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.detector.decoder_change import measured, with_decoder
from clipfake.detector.named import load_detector
from clipfake.encoder import describe, load
from clipfake.errors import UsageError
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import write_record
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.storage.vectors import vector_column

ENCODER, N = "ViT-S-32-alt/untrained", 3_200


@pytest.fixture(scope="module")
def trained(detector: Path) -> Detector:
    return load_detector(str(detector))


@pytest.fixture(scope="module")
def vectors(trained: Detector) -> np.ndarray:
    """(N, D), sorted by decision."""
    x = np.random.default_rng(3).normal(size=(N, trained.in_dim)).astype(np.float32)
    return x[np.argsort(trained.score(x).decision)]


def stored(
    folder: Path, x: np.ndarray, decoder: str, precision: str = "fp32", device: str = "cpu", first: int = 0
) -> str:
    """Embeddings by that decoder: an error row, x, and a view of each that nobody counts."""
    described = describe(ENCODER, decoder=decoder)
    facts = {"encoder": described.fingerprint, "encoder_description": described.to_dict(), "precision": precision}
    schema = embedding_schema(described.dim, precision)
    n, ok = len(x), np.arange(len(x))
    tables = []
    for view, values in ((0, x), (1, -x)):
        given = {
            "item_id": pa.array([f"file:///{first + i}" for i in range(n + 1)]),
            "uri": pa.array(["file:///all"] * (n + 1)),
            "size": pa.array([1] * (n + 1)),
            "version": pa.array(["1"] * (n + 1)),
            "view": pa.array([view] * (n + 1), pa.int16()),
            "status": pa.array(["ok"] * n + ["corrupt"]),
            "embedding": vector_column(
                n + 1, ok, values.astype(schema.field("embedding").type.value_type.to_pandas_dtype())
            ),
        }
        columns = [given.get(field.name, pa.nulls(n + 1, field.type)).cast(field.type) for field in schema]
        tables.append(pa.table(columns, schema=schema))
    store = Store(f"file://{folder}")
    Ledger(store, "embeddings", schema, described.fingerprint, footer("embeddings", facts)).commit(
        "rows-000000.parquet", pa.concat_tables(tables)
    )
    write_record(store, "run", {"device": device})
    return str(folder)


def test_verdicts_are_compared_of_images_that_both_have(trained, vectors, tmp_path):
    """The images at both ends of the decisions change places: two verdicts change, told from the scores alone."""
    other = vectors.copy()
    other[:2], other[-2:] = vectors[-2:], vectors[:2]
    own = stored(tmp_path / "own", vectors, "exact")
    found = measured(trained, own, stored(tmp_path / "other", other[100:], "fast", first=100))
    scores, theirs = trained.score(vectors[100:]), trained.score(other[100:])
    assert (found.decoder, found.images, found.precision) == ("fast", N - 100, "fp32")
    assert found.changed == sum(a != b for a, b in zip(scores.verdict, theirs.verdict, strict=True)) == 2
    assert found.moved == pytest.approx(np.abs(scores.decision - theirs.decision).max())
    np.testing.assert_array_equal(found.test_card, load(describe(ENCODER, decoder="fast")).test_card_embedding())


def test_one_that_passes_is_added_by_the_command(trained, detector, vectors, tmp_path):
    own, fast = stored(tmp_path / "own", vectors, "exact"), stored(tmp_path / "fast", vectors, "fast")
    done = CliRunner().invoke(
        app, ["detector", "add-decoder", str(detector), own, fast, "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "fast changed 0 of 3200 verdicts" in done.output
    added = load_detector(str(tmp_path / "out"))
    assert added.fingerprint == trained.fingerprint
    assert [one.decoder for one in added.decoders] == ["fast"]
    twice = with_decoder(with_decoder(added, own, fast), own, stored(tmp_path / "gpu", vectors, "gpu", device="cuda"))
    assert [one.decoder for one in twice.decoders] == ["fast", "gpu-1"]
    shown = CliRunner().invoke(app, ["detector", "show", str(tmp_path / "out")])
    assert "fast changed 0 of 3200" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x, at: stored(at, np.roll(x, 40, axis=0), "fast"), "in 10,000"),
        (lambda x, at: stored(at, x[:2_999], "fast"), "give 3000 at least"),
        (lambda x, at: stored(at, x[:9], "fast", first=9_000), "0 images"),
        (lambda x, at: stored(at, x, "exact"), "another decoder"),
        (lambda x, at: stored(at, x, "fast", "bf16"), "one is of fp32, the other of bf16"),
        (lambda x, at: stored(at, x, "gpu"), "made without a GPU"),
        (lambda x, at: str(at), "holds no embeddings"),
    ],
)
def test_what_is_refused(trained, vectors, tmp_path, make, says):
    own = stored(tmp_path / "own", vectors, "exact")
    with pytest.raises(UsageError, match=says):
        with_decoder(trained, own, make(vectors, tmp_path / "other"))


def test_own_embeddings_must_be_the_detectors(trained, vectors, tmp_path):
    fast = stored(tmp_path / "fast", vectors, "fast")
    with pytest.raises(UsageError, match="another encoder"):
        with_decoder(trained, fast, fast)
    with pytest.raises(UsageError, match="reads text"):
        with_decoder(replace(trained, text="any"), fast, fast)  # type: ignore[arg-type]
