"""A chunk on its way through the pipeline: where its rows come from, and the columns that only travel inside."""

import json
from collections.abc import Callable, Iterator
from typing import TypedDict, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import WorkFailedError, one_line
from clipfake.status import Status
from clipfake.storage.retries import retried
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import Store

T = TypeVar("T")

CHUNKS = "_chunks"  # the only column of what the pipeline is fed: chunks that one actor gets together, as JSON
# Columns that only travel inside the pipeline.
UNIT, ROW, PIXELS = "_unit", "_row", "_pixels"  # the path of the unit's item list, the row in it, the image
JPEG = "_jpeg"  # what the encoder's device is to decode (see `handed_over`)
VIEWS = "_views"  # the embeddings of an item's views, one after the other in one fixed-size list
PAUSES_S = (0.5, 2.0, 8.0)  # before the store is asked again for an item list or a part
REFUSED = "_refused"  # the only column of what comes instead of rows where the encoder or the detector is unusable


class Chunk(TypedDict):
    """What the pipeline is fed: rows of a unit's item list, and where the first of them stands in the unit.

    group, offset : the row group of the list, and the first row in it
    """

    path: str
    unit: int
    group: int
    offset: int
    rows: int
    first: int


def split(chunk: Chunk, parts: int) -> list[Chunk]:
    """The chunk in so many parts, or fewer where it has fewer rows."""
    size = -(-chunk["rows"] // parts)
    return [
        {**chunk, "offset": chunk["offset"] + at, "first": chunk["first"] + at, "rows": min(size, chunk["rows"] - at)}
        for at in range(0, chunk["rows"], size)
    ]


PROBE = Chunk(path="", unit=-1, group=0, offset=0, rows=1, first=0)  # an item that is not there: actors answer, or not


def as_row(task: list[Chunk]) -> dict[str, str]:
    """Chunks that one actor gets together, as a row of what the pipeline is fed."""
    return {CHUNKS: json.dumps(task)}


def as_table(task: list[Chunk]) -> pa.Table:
    """The same as a table."""
    return pa.table({name: [value] for name, value in as_row(task).items()})


def single(table: pa.Table) -> Iterator[pa.Table]:
    """Tables of the chunks in a table, one each."""
    return (as_table([chunk]) for row in table[CHUNKS].to_pylist() for chunk in json.loads(row))


def read_chunk(store: Store, chunk: pa.Table) -> pa.Table:
    """The chunk's items with their place in the unit. Raises WorkFailedError where the list cannot be read."""
    (at,) = json.loads(chunk[CHUNKS][0].as_py())
    if at["path"]:
        failed = f"the list of items {store.uri_of(at['path'])} cannot be read"
        table = insistently(lambda: _listed(store, at["path"], at["group"]), failed)
        table = table.slice(at["offset"], at["rows"])
    else:
        nothing: dict[str, object] = {"item_id": "probe", "uri": "file:///dev/null/probe", "version": ""}
        table = pa.Table.from_pylist([nothing], schema=MANIFEST_SCHEMA)
    rows = pa.array(np.arange(at["first"], at["first"] + table.num_rows, dtype=np.int32))
    unit = pa.repeat(pa.scalar(at["path"]), table.num_rows)
    return table.append_column(UNIT, unit).append_column(ROW, rows)


def insistently(act: Callable[[], T], failed: str) -> T:
    """What `act` returns. A store that fails for a moment is asked again; at last WorkFailedError, `failed` and why."""
    failures = (OSError, pa.ArrowException)
    try:
        return retried(act, PAUSES_S, lambda e: isinstance(e, failures) and not isinstance(e, FileNotFoundError))
    except failures as error:
        raise WorkFailedError(f"{failed}: {one_line(error)}") from error


def _listed(store: Store, path: str, group: int) -> pa.Table:
    with pq.ParquetFile(store.path(path), filesystem=store.filesystem) as items:
        return items.read_row_group(group)


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of the schema that it lacks, all null."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(table.num_rows, field.type))
    return table


def mark(table: pa.Table, rows: np.ndarray, status: Status, error: str) -> pa.Table:
    """The table with that status and error in those rows."""
    for name, value in (("status", status.value), ("error", error)):
        values = np.asarray(table[name].to_pylist(), object)
        values[rows] = value
        table = table.set_column(
            table.schema.get_field_index(name), table.schema.field(name), pa.array(values, pa.string())
        )
    return table
