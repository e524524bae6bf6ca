"""Item lists are asked for again; vectors come out of a column with nulls as they went in, whatever part is read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.errors import WorkFailedError
from clipfake.scoring import unit_chunks as chunks
from clipfake.scoring.unit_chunks import Chunk, as_table, read_chunk
from clipfake.storage.store import Store
from clipfake.storage.vectors import matrix_of


@pytest.mark.parametrize("failures", [3, 4])
def test_a_list_that_cannot_be_read_for_a_moment_is_asked_for_again(failures, tmp_path, items, monkeypatch):
    pq.write_table(items([f"{n}.jpg" for n in range(10)]), tmp_path / "0.items")
    monkeypatch.setattr(chunks, "PAUSES_S", (0.0, 0.0, 0.0))
    real, left = pq.ParquetFile, [OSError("the store is away")] * failures

    def failing(*args, **options):
        if left:
            raise left.pop()
        return real(*args, **options)

    monkeypatch.setattr(pq, "ParquetFile", failing)
    at = Chunk(path="0.items", unit=3, group=0, offset=4, rows=2, first=4)
    store, chunk = Store(f"file://{tmp_path}"), as_table([at])
    if failures > len(chunks.PAUSES_S):
        with pytest.raises(WorkFailedError, match=r"0.items cannot be read: the store is away"):
            read_chunk(store, chunk)
    else:
        table = read_chunk(store, chunk)
        assert (table["_unit"].to_pylist(), table["_row"].to_pylist()) == (["0.items"] * 2, [4, 5])
        assert table["item_id"][0].as_py().endswith("4.jpg")


def test_rows_without_a_vector_are_left_out(tmp_path):
    kind = pa.list_(pa.float32(), 2)
    pq.write_table(pa.table({"v": pa.array([None, [1, 2], None, [3, 4]], kind)}), tmp_path / "v.parquet")
    stored = pq.read_table(tmp_path / "v.parquet")  # where even the values of null rows are null
    for table, rows, vectors in (
        (stored, [1, 3], [[1, 2], [3, 4]]),
        (stored.slice(1), [0, 2], [[1, 2], [3, 4]]),
        (stored.take([3, 0]), [0], [[3, 4]]),
        (stored.slice(0, 1), [], np.empty((0, 2))),
    ):
        found, matrix = matrix_of(table["v"])
        assert found.tolist() == rows
        np.testing.assert_array_equal(matrix, vectors)
