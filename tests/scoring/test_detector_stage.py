"""Stored embeddings on their way to report rows: also those of files that are older than some columns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Sigmoid
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.unfamiliarity import fit_reference
from clipfake.errors import ClipfakeError
from clipfake.measures.thresholds import Threshold
from clipfake.scoring.detector_stage import Apply, read_embeddings
from clipfake.scoring.listing import stored_listing
from clipfake.scoring.report_rows import report_rows
from clipfake.storage.compaction import compact
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import ENCODING, REPORT_SCHEMA, embedding_schema
from clipfake.storage.store import Store
from clipfake.storage.vectors import matrix_of, vector_column


def test_old_and_new_files_in_one_chunk_keep_what_they_have(tmp_path):
    schema = embedding_schema(4, "fp32")
    young = ["declared", *(field.name for field in ENCODING)]
    for file in ("old", "new"):
        made = {"item_id": [f"{file}{i}" for i in range(3)], "group_id": ["g", None, "h"], "embedding": [[1.0] * 4] * 3}
        made |= {"declared": ["software: X", None, "parameters: Y"], "view": [0] * 3, "version": ["1"] * 3}
        made |= {"uri": ["file:///u"] * 3, "status": ["ok"] * 3}
        columns = [pa.array(made.get(field.name, [None] * 3), field.type) for field in schema]
        table = pa.table(columns, schema=schema)
        pq.write_table(table.drop_columns(young) if file == "old" else table, tmp_path / f"{file}.parquet")
    wanted = [("old", 2), ("new", 2), ("new", 0), ("old", 0)]
    for files in (wanted, [one for one in wanted if one[0] == "old"]):
        source, row = zip(*files, strict=True)
        chunk = pa.table({"source": [f"file://{tmp_path}/{name}.parquet" for name in source], "row": row})
        stored = read_embeddings(chunk)
        for name in ("decision", "probability", "unfamiliarity"):
            stored = stored.append_column(name, pa.array(np.zeros(len(files))))
        stored = stored.append_column("verdict", pa.array(["real"] * len(files)))
        rows = report_rows(stored, detector="d", run_id="r")
        assert rows.schema == REPORT_SCHEMA
        found = {r["item_id"]: (r["group_id"], r["declared"]) for r in rows.to_pylist()}
        expected = {
            "old2": ("h", None),
            "new2": ("h", "parameters: Y"),
            "new0": ("g", "software: X"),
            "old0": ("g", None),
        }
        assert found == {f"{name}{at}": expected[f"{name}{at}"] for name, at in files}


def small_detector(x: np.ndarray) -> Detector:
    random = np.random.default_rng(0)
    head = init_head(x.shape[1], 8, 0, x).eval().requires_grad_(False)
    svm = KernelSvm(head(torch.from_numpy(x[:50])), torch.from_numpy(random.normal(size=50)), 0.1, 1.0)
    reference = fit_reference(x[:100], np.arange(100) % 2, [None] * 100, x[100:], points=20)
    thresholds = (Threshold(0.05, 0.5, 1_000), Threshold(0.01, 1.0, 1_000))
    return Detector({}, "", head, svm, Sigmoid(-1.0, 0.0), thresholds, x[0], {}, reference)


def test_stored_rows_in_chunks_are_scored_as_their_vectors_at_once(tmp_path):
    """Over row groups, in order and out of it, with rows that have no embedding."""
    x = np.random.default_rng(1).normal(size=(3_000, 16)).astype(np.float32)
    lacking = np.arange(7, 3_000, 500)
    schema = embedding_schema(16, "fp32")
    made = {"item_id": [f"i{i}" for i in range(3_000)], "embedding": vector_column(
        3_000, np.setdiff1d(np.arange(3_000), lacking), np.delete(x, lacking, axis=0))}  # fmt: skip
    made |= {"uri": ["file:///u"] * 3_000, "version": ["1"] * 3_000, "status": ["ok"] * 3_000, "view": [0] * 3_000}
    table = pa.table([made.get(f.name, pa.array([None] * 3_000, f.type)) for f in schema], names=schema.names)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1_000)
    detector = small_detector(x[:200])
    expected = detector.score(x)
    places = [np.arange(500, 2_500), np.array([2_999, 7, 0, 1_200]), np.arange(64)]
    for rows in places:
        chunk = pa.table({"source": [f"file://{tmp_path}/a.parquet"] * len(rows), "row": rows})
        stored = read_embeddings(chunk)
        assert "category" not in stored.column_names
        ok, vectors = matrix_of(stored["embedding"])
        scored = Apply(detector).to_rows(stored, ok, vectors)
        assert scored["item_id"].to_pylist() == [f"i{i}" for i in rows]
        there = ~np.isin(rows, lacking)
        for name, atol in (("decision", detector.classifier.tolerance), ("unfamiliarity", 1e-3), ("probability", 1e-4)):
            got = scored[name].to_numpy()
            np.testing.assert_allclose(got[there], getattr(expected, name)[rows[there]], rtol=0, atol=atol)
            assert scored[name].null_count == (~there).sum()
        verdicts = [expected.verdict[row] if has else None for row, has in zip(rows, there, strict=True)]
        assert scored["verdict"].to_pylist() == verdicts


def test_stored_rows_are_found_after_their_files_were_merged(tmp_path):
    """A plan names files and row numbers; `compact` may come between two of its units, and twice."""
    schema = embedding_schema(4, "fp32")
    ledger = Ledger(Store(f"file://{tmp_path}"), "embeddings", schema, "e", footer("embeddings", {"encoder": "e"}))

    def commit(name: str) -> None:
        made = {"item_id": [f"{name}{i}" for i in range(3)], "uri": ["file:///u"] * 3, "version": ["1"] * 3}
        made |= {"view": [0] * 3, "status": ["ok"] * 3, "embedding": [[float(i)] * 4 for i in range(3)]}
        columns = [pa.array(made.get(field.name, [None] * 3), field.type) for field in schema]
        ledger.commit(f"{name}.parquet", pa.table(columns, schema=schema))

    for name in ("a", "b", "c"):
        commit(name)
    planned = stored_listing(ledger).read_all()
    chunk = planned.take([8, 3, 4, 0])
    expected = ["c2", "b0", "b1", "a0"]
    for more in ("0", "1"):
        assert sorted(read_embeddings(chunk)["item_id"].to_pylist()) == sorted(expected)
        commit(more)
        compact(ledger.store.uri)
    found = read_embeddings(chunk)
    vectors = dict(zip(found["item_id"].to_pylist(), found["embedding"].to_pylist(), strict=True))
    assert {name: vector[0] for name, vector in vectors.items()} == {"c2": 2.0, "b0": 0.0, "b1": 1.0, "a0": 0.0}
    (file,) = ledger.files()
    shifted = planned.set_column(planned.column_names.index("row"), "row", pa.array(range(1, 10)))
    with pytest.raises(ClipfakeError, match="holds other items"):
        read_embeddings(shifted.slice(0, 2))
    assert file.endswith(".parquet")
