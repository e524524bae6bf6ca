"""A chunk on its way through the pipeline: where its rows come from, and the columns that only travel inside."""

from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.store import Store
from clipfake.status import Status

# Columns that only travel inside the pipeline.
UNIT, ROW, PIXELS = "_unit", "_row", "_pixels"
VIEWS = "_views"  # the embeddings of an item's views, one after the other in one fixed-size list
REFUSED = "_refused"  # the only column of what comes instead of rows where the encoder or the detector is unusable


class Chunk(TypedDict):
    """What the pipeline is fed: a row group of a unit's item list, and where its first row stands in the unit."""

    path: str
    unit: int
    group: int
    first: int


def read_chunk(store: Store, chunk: pa.Table) -> pa.Table:
    """The chunk's items with their place in the unit."""
    (at,) = chunk.to_pylist()
    with pq.ParquetFile(store.path(at["path"]), filesystem=store.filesystem) as items:
        table = items.read_row_group(at["group"])
    rows = pa.array(np.arange(at["first"], at["first"] + table.num_rows, dtype=np.int32))
    unit = pa.array(np.full(table.num_rows, at["unit"], np.int32))
    return table.append_column(UNIT, unit).append_column(ROW, rows)


def mark(table: pa.Table, rows: np.ndarray, status: Status, error: str) -> pa.Table:
    """The table with that status and error in those rows."""
    for name, value in (("status", status.value), ("error", error)):
        values = np.asarray(table[name].to_pylist(), object)
        values[rows] = value
        table = table.set_column(
            table.schema.get_field_index(name), table.schema.field(name), pa.array(values, pa.string())
        )
    return table


def vector_column(rows: int, ok: np.ndarray, vectors: np.ndarray) -> pa.Array:
    """A fixed-size list column of `rows` rows, null but at `ok`."""
    full = np.zeros((rows, vectors.shape[1]), vectors.dtype)
    full[ok] = vectors
    missing = np.ones(rows, bool)
    missing[ok] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(full.reshape(-1)), vectors.shape[1], mask=pa.array(missing))


def matrix_of(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """(rows that are not null, their vectors as (N, D)) of a fixed-size list column."""
    vectors = column.combine_chunks()
    rows = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
    if vectors.null_count:
        vectors = vectors.drop_null()  # what a null row holds may be null too
    values = vectors.flatten()
    return rows, values.to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)
