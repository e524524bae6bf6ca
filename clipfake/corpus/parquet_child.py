"""The confined process that reads strangers' Parquet. It opens no file: its parent hands it the bytes it asks for.

Each frame on its stdin is JSON, and where that says `data` another one follows. An order comes in; requests to read
and parts of the answer go out, and at last `end` or `damage`.
"""

from __future__ import annotations

import json
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.confinement import address_space, confine
from clipfake.corpus.source import Reading
from clipfake.errors import one_line

# The first of these that holds bytes (or Hugging Face's struct of bytes and path), unless --columns names one.
BYTES_COLUMNS = ("image", "image_bytes", "bytes", "img", "jpg", "png", "webp", "data", "content")

_ROWS, _TEXT_ROWS = 4, 1024  # unpacked at a time
_BUFFER = 8 << 20  # bytes of a column that are asked for at a time; else Arrow holds a row group's column whole

Part = tuple[dict[str, Any], bytes | None]  # of an answer: what it says, and bytes that belong to it


def main() -> None:
    """Serves until the parent closes its end."""
    link, memory = Connection(os.dup(sys.stdin.fileno())), int(sys.argv[1])
    confine(memory)
    idle = address_space()
    key, kept = None, None  # the file and column that the last order was about
    while True:
        try:
            order = json.loads(link.recv_bytes())
        except (EOFError, OSError):
            return
        file = cast(IO[bytes], Reading(_Parent(link, order.pop("size"))))
        asked = (order.pop("key", None), order.get("wanted"))
        try:
            if order.pop("what") == "texts":
                key, kept, answer = None, None, stored_texts(file, **order)
            else:
                if kept is None or key != asked or key[0] is None:
                    key, kept = asked, StoredRows(file, order["wanted"])
                answer = kept.told(order["rows"], order["most"])
            for about, data in answer:
                _send(link, about, data)
        except Exception as error:  # whatever it is, it is the file's fault
            _send(link, {"damage": one_line(error)})
            return
        _send(link, {"end": True, "tired": address_space() > idle + memory // 2})


class StoredRows:
    """The images of a file, a few rows at a time. Rows that follow those that were asked for last are read on."""

    def __init__(self, file: IO[bytes], wanted: str | None) -> None:
        self._table = _opened(file)
        column = find_bytes_column(self._table.schema_arrow, wanted)
        if column is None:
            raise pa.ArrowInvalid("no column with image bytes")
        self._columns = [column]
        if column.endswith(".bytes"):
            self._columns.append(f"{column.removesuffix('.bytes')}.path")
        metadata = self._table.metadata
        self._ends = list(accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
        self._group, self._first = -1, 0
        self._values: pa.Array = pa.array([])  # of the rows from `_first` on
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def told(self, rows: list[int], most: int) -> Iterator[Part]:
        """Row, path (beside the bytes), size (None: null) of each of the sorted `rows` that there are; `most` bytes.

        Raises ArrowException or OSError for a damaged file.
        """
        for row in rows:
            if not self._come_to(row):
                continue
            found = self._values[row - self._first].as_py()
            data, path = (found, None) if not isinstance(found, dict) else (found["bytes"], found.get("path"))
            size = None if data is None else len(data)
            yield {"row": row, "path": path, "size": size}, data if size and size <= most else None

    def _come_to(self, row: int) -> bool:
        """Reads on to that row, or from the beginning of its row group; whether there is one."""
        group = bisect_right(self._ends, row)
        if group == len(self._ends):
            return False
        if group != self._group or row < self._first:
            self._group, self._first, self._values = group, self._ends[group - 1] if group else 0, pa.array([])
            self._batches = self._table.iter_batches(_ROWS, [group], self._columns, use_threads=False)
        while row >= self._first + len(self._values):
            self._first += len(self._values)
            batch = next(self._batches, None)
            if batch is None:
                self._group = -1
                return False
            self._values = batch.column(0)
        return True


def stored_texts(file: IO[bytes], names: list[str], wanted: str | None) -> Iterator[Part]:
    """First columns ((name, type) pairs), image (the column of bytes), rows; then rows and texts (by name), in order.

    names : the columns that are read, where the file has them. Raises as `StoredRows.told`.
    """
    table = _opened(file)
    schema = table.schema_arrow
    columns = [(field.name, str(field.type)) for field in schema]
    yield {"columns": columns, "image": find_bytes_column(schema, wanted), "rows": table.metadata.num_rows}, None
    stored = [name for name in names if name in schema.names]
    for group in range(table.num_row_groups):
        left = table.metadata.row_group(group).num_rows
        for batch in table.iter_batches(_TEXT_ROWS, [group], stored, use_threads=False) if stored else ():
            told = {name: [_text(value) for value in texts(batch.column(name))] for name in stored}
            left -= batch.num_rows
            yield {"rows": batch.num_rows, "texts": told}, None
        if stored and left:
            raise pa.ArrowInvalid(f"the row group {group} has {-left} rows more than it says")
        if left:
            yield {"rows": left, "texts": {}}, None


def find_bytes_column(schema: pa.Schema, wanted: str | None = None) -> str | None:
    """The name of the column with the images' bytes (`image`, or `image.bytes` inside a struct); None where none is."""
    for name in (wanted,) if wanted else BYTES_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if _is_binary(kind):
                return name
            if pa.types.is_struct(kind) and any(f.name == "bytes" and _is_binary(f.type) for f in kind):
                return f"{name}.bytes"
    return None


def texts(column: pa.Array) -> list[Any]:
    """The values of a column as Python has them; what is no UTF-8 in a text gets U+FFFD."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return cast(list[Any], column.to_pylist())
    except UnicodeDecodeError:
        return [value and value.decode("utf-8", "replace") for value in column.cast(pa.large_binary()).to_pylist()]


def _opened(file: IO[bytes]) -> pq.ParquetFile:
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _is_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _send(link: Connection, about: dict[str, Any], data: bytes | None = None) -> None:
    link.send_bytes(json.dumps({**about, "data": data is not None}).encode())
    if data is not None:
        link.send_bytes(data)


class _Parent:
    """The file that an order is about, whose bytes the parent has."""

    def __init__(self, link: Connection, size: int) -> None:
        self._link = link
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        _send(self._link, {"read": [offset, length]})
        return self._link.recv_bytes()


if __name__ == "__main__":
    main()
