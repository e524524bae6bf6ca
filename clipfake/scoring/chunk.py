"""A chunk on its way through the pipeline: where its rows come from, and the columns that only travel inside."""

from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.status import Status
from clipfake.storage.store import Store

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
