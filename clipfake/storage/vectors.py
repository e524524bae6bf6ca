"""Vectors in fixed-size list columns: from a matrix to a column, and back; and into Parquet."""

from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

UNIQUE = {"item_id", "uri", "version", "content_sha256"}  # columns whose values are mostly of one row each


def vector_column(rows: int, ok: np.ndarray, vectors: np.ndarray) -> pa.Array:
    """A fixed-size list column of `rows` rows, null but at `ok`."""
    full = np.zeros((rows, vectors.shape[1]), vectors.dtype)
    full[ok] = vectors
    missing = np.ones(rows, bool)
    missing[ok] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(full.reshape(-1)), vectors.shape[1], mask=pa.array(missing))


def matrix_of(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(rows that are not null, their vectors as (N, D)) of a fixed-size list column."""
    vectors = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
    if vectors.null_count:
        vectors = vectors.drop_null()  # what a null row holds may be null too
    values = vectors.flatten()
    return rows, values.to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)


def filled_matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(rows, D) of a fixed-size list column, zeros where it is null."""
    rows, vectors = matrix_of(column)
    full = np.zeros((len(column), vectors.shape[1]), vectors.dtype)
    full[rows] = vectors
    return full


def parquet_writer(sink: IO[bytes], schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of rows that may have vectors. Those never repeat, nor do numbers and names of items: dictionaries of
    them take most of the time.
    """
    others = [field.name for field in schema if not pa.types.is_fixed_size_list(field.type)]
    repeat = [name for name in others if name not in UNIQUE and not pa.types.is_floating(schema.field(name).type)]
    return pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=repeat, write_statistics=others)
