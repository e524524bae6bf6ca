"""The confined process that reads strangers' Parquet. It opens no file: its parent hands it the bytes it asks for.

Each frame on its stdin is JSON, and where that says `data` another one follows. An order comes in; requests to read
and parts of the answer go out, and at last `end` or `damage`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
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
    while True:
        try:
            order = json.loads(link.recv_bytes())
        except (EOFError, OSError):
            return
        answer: Callable[..., Iterator[Part]] = stored_rows if order.pop("what") == "rows" else stored_texts
        file = cast(IO[bytes], Reading(_Parent(link, order.pop("size"))))
        try:
            for about, data in answer(file, **order):
                _send(link, about, data)
        except Exception as error:  # whatever it is, it is the file's fault
            _send(link, {"damage": one_line(error)})
            return
        _send(link, {"end": True, "tired": address_space() > idle + memory // 2})


def stored_rows(file: IO[bytes], rows: list[int], wanted: str | None, most: int) -> Iterator[Part]:
    """Each of the sorted `rows` that the file has: row, path (beside the bytes), size (None: null); up to `most` bytes.

    A row group in need is read once, a few rows at a time. Raises ArrowException or OSError for a damaged file.
    """
    table = _opened(file)
    column = find_bytes_column(table.schema_arrow, wanted)
    if column is None:
        raise pa.ArrowInvalid("no column with image bytes")
    columns = [column, f"{column.removesuffix('.bytes')}.path"] if column.endswith(".bytes") else [column]
    first = 0
    for group in range(table.num_row_groups):
        end = first + table.metadata.row_group(group).num_rows
        needed = {row for row in rows if first <= row < end}
        row = first
        for batch in table.iter_batches(_ROWS, [group], columns, use_threads=False) if needed else ():
            for value in batch.column(0):
                if row in needed:
                    found = value.as_py()
                    data, path = (found, None) if not isinstance(found, dict) else (found["bytes"], found.get("path"))
                    size = None if data is None else len(data)
                    yield {"row": row, "path": path, "size": size}, data if size and size <= most else None
                row += 1
            if row > max(needed):
                break
        first = end


def stored_texts(file: IO[bytes], names: list[str], wanted: str | None) -> Iterator[Part]:
    """First columns ((name, type) pairs), image (the column of bytes), rows; then rows and texts (by name), in order.

    names : the columns that are read, where the file has them. Raises as `stored_rows`.
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
