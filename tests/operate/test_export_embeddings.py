"""Exported and imported again, embeddings are the same; errors and views stay behind."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.encoder import describe
from clipfake.errors import UsageError
from clipfake.operate import export_embeddings as exporting
from clipfake.operate.export_embeddings import export_embeddings
from clipfake.operate.import_embeddings import import_embeddings
from clipfake.operate.options import ImportOptions
from clipfake.scoring.embeddings import embedding_ledger
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.store import Store
from clipfake.storage.vectors import matrix_of, vector_column

ENCODER = "ViT-S-32-alt/untrained"
ROWS = 25


@pytest.fixture
def stored(tmp_path):
    """Two files of 25 rows: an error, a view, a member, a path that is not UTF-8, captions; an old version of one.

    -> folder, ids, vectors
    """
    ledger = embedding_ledger(Store(f"file://{tmp_path}/own"), describe(ENCODER), "fp16")
    dim = ledger.schema.field("embedding").type.list_size
    ids, kept = [], []
    for file in range(2):
        vectors = np.random.default_rng(file).normal(size=(ROWS, dim)).astype(np.float32)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        uri = [f"file:///c/{file}/{i}%20.jpg" for i in range(ROWS)]
        uri[1], member = "file:///c/%FF.jpg" if file else "s3://b/x.tar", [None] * ROWS
        member[1] = None if file else "a b.jpg"
        status = ["ok", "ok", "corrupt", *["ok"] * (ROWS - 3)]
        view = [0] * (ROWS - 1) + [1]
        ok = np.array([i for i in range(ROWS) if i != 2])
        columns = {"uri": uri, "member": member, "status": status, "view": view, "version": ["1"] * ROWS}
        columns["item_id"] = [uris.item_id(*one) for one in zip(uri, member, strict=True)]
        columns["caption"] = [f"{file} {i}" for i in range(ROWS)]
        rows = [
            vector_column(ROWS, ok, vectors[ok]) if field.name == "embedding"
            else pa.array(columns.get(field.name, [None] * ROWS), field.type)
            for field in ledger.schema
        ]  # fmt: skip
        ledger.commit(f"{file}.parquet", pa.table(rows, schema=ledger.schema))
        out = [i for i in range(ROWS - 1) if i != 2]
        ids += [columns["item_id"][i] for i in out]
        kept.append(vectors[out])
    first = ledger.dataset().head(1)
    older = first.set_column(first.schema.get_field_index("version"), "version", pa.array(["0"]))
    ledger.commit("-1.parquet", older.cast(ledger.schema))
    return f"{tmp_path}/own", ids, np.concatenate(kept)


@pytest.mark.parametrize("part_rows", [7, 23, 46, 1_000_000])
def test_there_and_back(stored, tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(exporting, "PART_ROWS", part_rows)
    place, ids, vectors = stored
    found = export_embeddings(place, f"{tmp_path}/theirs")
    parts = -(-len(ids) // part_rows)
    assert (found.rows, found.left_out, found.parts) == (len(ids), 5, parts)
    files = sorted((tmp_path / "theirs" / "img_emb").iterdir())
    assert [file.name for file in files] == [f"img_emb_{number:04d}.npy" for number in range(parts)]
    arrays = [np.load(file) for file in files]
    assert {array.dtype for array in arrays} == {np.dtype(np.float16)}
    np.testing.assert_array_equal(np.concatenate(arrays), vectors)
    metadata = pa.concat_tables(
        pq.read_table(f"{tmp_path}/theirs/metadata/metadata_{number:04d}.parquet") for number in range(parts)
    )
    assert metadata["item_id"].to_pylist() == ids
    assert metadata["image_path"].to_pylist()[:2] == ["/c/0/0 .jpg", "s3://b/x.tar#a%20b.jpg"]
    assert metadata["caption"].to_pylist()[:3] == ["0 0", "0 1", "0 3"]
    import_embeddings(f"{tmp_path}/theirs", ENCODER, f"{tmp_path}/back", ImportOptions())
    back = stored_embeddings(uris.place(f"{tmp_path}/back")).dataset().to_table()
    assert back["item_id"].to_pylist() == ids
    np.testing.assert_array_equal(matrix_of(back["embedding"])[1], vectors)


def test_what_it_cannot_do_is_refused(stored, tmp_path):
    export_embeddings(stored[0], f"{tmp_path}/theirs")
    with pytest.raises(UsageError, match="something else"):
        export_embeddings(stored[0], f"{tmp_path}/theirs")
    with pytest.raises(UsageError, match="--format"):
        export_embeddings(stored[0], f"{tmp_path}/other", "faiss")
    with pytest.raises(UsageError, match="no embeddings"):
        export_embeddings(f"{tmp_path}/theirs", f"{tmp_path}/other")
