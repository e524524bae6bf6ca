"""Vectors in columns come back as they went in."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.storage.vectors import filled_matrix, matrix_of, parquet_writer, vector_column


@given(st.lists(st.booleans(), max_size=12), st.sampled_from(["float16", "float32"]), st.booleans(), st.integers(0, 3))
def test_a_matrix_comes_back_from_its_column(there, kind, chunked, start):
    ok = np.flatnonzero(there)
    vectors = np.arange(3 * len(ok), dtype=kind).reshape(-1, 3) + 1
    column = vector_column(len(there), ok, vectors)[start:]
    rows, found = matrix_of(pa.chunked_array([column[:2], column[2:]]) if chunked else column)
    kept = ok >= start
    assert rows.tolist() == (ok[kept] - start).tolist()
    np.testing.assert_array_equal(found, vectors[kept])
    full = np.zeros((len(column), 3), kind)
    full[rows] = found
    np.testing.assert_array_equal(filled_matrix(column), full)


def test_the_width_is_that_of_the_type_also_without_rows():
    assert filled_matrix(pa.array([], pa.list_(pa.float32(), 5))).shape == (0, 5)
    assert matrix_of(pa.array([None], pa.list_(pa.float32(), 5)))[1].shape == (0, 5)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32()])
def test_a_null_row_may_hold_nulls(kind):
    column = pa.array([None, [1.0, 2.0]], pa.list_(kind, 2))
    assert filled_matrix(column).tolist() == [[0, 0], [1, 2]]


def test_a_file_has_dictionaries_of_what_repeats_and_statistics_of_all_but_vectors(tmp_path):
    vectors = pa.array([None, [1.0, 2.0]], pa.list_(pa.float16(), 2))
    rows = pa.table({"item_id": ["a", "b"], "status": ["ok", "ok"], "decision": [0.5, -0.5], "embedding": vectors})
    with (tmp_path / "x.parquet").open("wb") as sink, parquet_writer(sink, rows.schema) as writer:
        writer.write_table(rows)
    columns = pq.read_metadata(tmp_path / "x.parquet").row_group(0)
    assert [columns.column(i).has_dictionary_page for i in range(4)] == [False, True, False, False]
    assert [columns.column(i).is_stats_set for i in range(4)] == [True, True, True, False]
    assert pq.read_table(tmp_path / "x.parquet").equals(rows)
