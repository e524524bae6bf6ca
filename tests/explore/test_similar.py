"""Looking for a picture among stored embeddings, and sorting these into clusters."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError
from clipfake.explore import similar as module
from clipfake.explore.clusters import ClusterOptions, clusters
from clipfake.explore.similar import similar
from clipfake.measures.kmeans import assign
from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Store

ENCODER = "ViT-S-32-alt/untrained"


@pytest.fixture(scope="module")
def stored(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures' embeddings in two files, one row with an error, and one augmented view that is never found."""
    import pyarrow as pa
    from PIL import Image

    from clipfake.encoder import load
    from clipfake.images.preprocess import preprocess

    encoder = load(ENCODER)
    folder = tmp_path_factory.mktemp("stored")
    ledger = embedding_ledger(Store(f"file://{folder}"), encoder.description, "fp32")
    files = sorted(pictures.iterdir())
    x = encoder.encode(
        np.stack([preprocess(Image.open(f).convert("RGB"), encoder.description.preprocess) for f in files])
    )
    uris = [f"file://{file}" for file in files]
    columns = {
        "item_id": uris,
        "uri": uris,
        "version": ["1"] * 40,
        "label": pa.array([i % 2 for i in range(40)], pa.int8()),
        "generator": [f"g{i % 2}" for i in range(40)],
        "status": ["ok"] * 39 + ["corrupt"],
    }
    nothing = {name: [None] * 40 for name in ledger.schema.names if name not in (*columns, "view", "embedding")}
    rows = pa.table(columns | nothing)
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(x.reshape(-1)), x.shape[1], mask=pa.array([False] * 39 + [True])
    )
    rows = embedding_rows(rows.append_column("embedding", vectors), schema=ledger.schema)
    ledger.commit("a.parquet", rows.slice(0, 25))
    ledger.commit("b.parquet", rows.slice(25))
    view = rows.slice(3, 1).set_column(rows.schema.get_field_index("view"), "view", pa.array([1], pa.int16()))
    ledger.commit("c.parquet", view.cast(ledger.schema))
    return folder


def _vectors(stored: Path) -> tuple[list[str], np.ndarray]:
    found = duckdb.sql(
        f"SELECT item_id, embedding FROM '{stored}/*.parquet' WHERE status = 'ok' AND view = 0"
    ).fetchall()
    return [name for name, _ in found], np.array([vector for _, vector in found])


def test_the_nearest_of_a_picture_are_those_of_a_plain_product(stored, pictures, monkeypatch):
    images = [str(pictures / "03.jpg"), str(pictures / "30.jpg")]
    names, x = _vectors(stored)
    for size in (module.BYTES, 1):  # all at once, and one batch after the other
        monkeypatch.setattr(module, "BYTES", size)
        found = similar(images, str(stored), 5)
        assert found["searched"] == 39
        for image, result in zip(images, found["results"], strict=True):
            query = x[names.index(f"file://{image}")]
            cosine = x @ query
            best = np.argsort(-cosine)[:5]
            assert [item["item_id"] for item in result["items"]] == [names[i] for i in best]
            assert result["items"][0]["item_id"] == f"file://{image}"
            np.testing.assert_allclose([item["cosine"] for item in result["items"]], cosine[best], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["similar", "{pictures}/00.jpg", "{pictures}"], "no embeddings"),
        (["similar", "nosuch.jpg", "{stored}"], "nosuch.jpg"),
        (["similar", "{stored}/a.parquet", "{stored}"], "cannot be decoded"),
        (["similar", "{stored}"], "give one image or more"),
        (["similar", "{pictures}/00.jpg", "{stored}", "--top", "0"], "--top"),
        (["similar", "{pictures}/00.jpg", "{stored}", "--encoder", "RN50/untrained"], "another encoder"),
        (["clusters", "{stored}", "--out", "out", "--k", "1"], "--k"),
        (["clusters", "{stored}", "--out", "{stored}"], "new or empty"),
    ],
)
def test_what_cannot_be_used_is_said(stored, pictures, arguments, says):
    given = [argument.format(stored=stored, pictures=pictures) for argument in arguments]
    error = CliRunner().invoke(app, given).exception
    assert isinstance(error, UsageError)
    assert says in str(error)


@pytest.mark.slow
def test_clusters_are_kept_and_told_of(stored, tmp_path, warm_ray):
    found = clusters(str(stored), str(tmp_path / "one"), ClusterOptions(k=4))
    again = clusters(str(stored), str(tmp_path / "two"), ClusterOptions(k=4))
    assert found == again
    rows = duckdb.sql(f"SELECT item_id, cluster, cosine FROM '{tmp_path}/one/*.parquet'").fetchall()
    names, x = _vectors(stored)
    assert sorted(name for name, *_ in rows) == sorted(names)
    kept = {name: (cluster, cosine) for name, cluster, cosine in rows}
    assert {c["cluster"]: c["items"] for c in found["clusters"]} == {
        k: sum(cluster == k for cluster, _ in kept.values()) for k in range(4)
    }
    assert sum(c["reals"] + c["fakes"] for c in found["clusters"]) == 39
    # Where it stopped, each item lies with the centre of its own cluster, within what the last step still moves.
    member = np.array([kept[name][0] for name in names])
    centres = np.stack([x[member == k].mean(axis=0) for k in range(4)])
    centres = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
    mine = np.einsum("ij,ij->i", x, centres[member])
    assert np.all(assign(x.astype(np.float32), centres).cosine - mine < 1e-3)
    for one in found["clusters"]:
        best = max((cosine, name) for name, (cluster, cosine) in kept.items() if cluster == one["cluster"])
        assert kept[one["nearest"][0]][1] == pytest.approx(best[0])
    footer = read_footer(pq.read_schema(tmp_path / "one/part-000000.parquet").metadata)
    assert footer["kind"] == "clusters"
    assert json.loads(footer["options"])["k"] == 4
    with pytest.raises(UsageError, match="smaller --k"):
        clusters(str(stored), str(tmp_path / "three"), ClusterOptions(k=100))
