"""Vectors come out of a column with nulls as they went in, whichever part of it is read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.storage.vectors import matrix_of


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
