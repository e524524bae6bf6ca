"""Image bytes in Parquet: which column holds them, and reading rows of it without the rest of the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.source import Source

# The first of these that holds bytes (or Hugging Face's struct of bytes and path), unless --columns names one.
BYTES_COLUMNS = ("image", "image_bytes", "bytes", "img", "jpg", "png", "webp", "data", "content")

_BATCH_ROWS = 32
MAX_UNPACKED = 256 << 20  # bytes of a column of a row group that are taken whatever they came from
MAX_RATIO = 100  # beyond: how much more they may be than the bytes in the file. Images do not get smaller.


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


def read_rows(
    file: IO[bytes], rows: list[int], wanted: str | None = None
) -> Iterator[tuple[int, bytes | None, str | None]]:
    """(row number, its bytes or None where null, the path beside them) for each of the sorted `rows` that it has.

    Each row group in need is read once, a few rows at a time. Raises ArrowInvalid or OSError for a damaged file.
    """
    table = pq.ParquetFile(file)
    column = find_bytes_column(table.schema_arrow, wanted)
    if column is None:
        raise pa.ArrowInvalid("no column with image bytes")
    first = 0
    for group in range(table.num_row_groups):
        end = first + table.metadata.row_group(group).num_rows
        needed = [row for row in rows if first <= row < end]
        if needed:
            yield from _read_group(table, group, column, first, needed)
        first = end


def is_damage(error: Exception, source: Source) -> bool:
    """Whether an error of pyarrow means a damaged file, and not that its bytes could not be had."""
    return not source.failed and not (isinstance(error, OSError) and error.errno is not None)


def check_unpacked(table: pq.ParquetFile, group: int, columns: Collection[str]) -> None:
    """Raises ArrowInvalid where the footer says that a few bytes of these columns unpack to very many: a bomb.

    columns : names; `a.b` inside a struct. A footer that lies is not seen.
    """
    about = table.metadata.row_group(group)
    for at in range(about.num_columns):
        column = about.column(at)
        path, packed, unpacked = column.path_in_schema, column.total_compressed_size, column.total_uncompressed_size
        wanted = any(path == name or path.startswith(f"{name}.") for name in columns)
        if wanted and unpacked > max(MAX_UNPACKED, MAX_RATIO * packed):
            raise pa.ArrowInvalid(f"{packed} bytes of the column {path} would unpack to {unpacked}")


def texts(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column as Python has them; what is no UTF-8 in a text gets U+FFFD."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [value and value.decode("utf-8", "replace") for value in column.cast(pa.large_binary()).to_pylist()]


def _read_group(
    table: pq.ParquetFile, group: int, column: str, first: int, needed: list[int]
) -> Iterator[tuple[int, bytes | None, str | None]]:
    last = needed[-1]
    wanted = set(needed)
    row = first
    columns = [column, f"{column.removesuffix('.bytes')}.path"] if column.endswith(".bytes") else [column]
    check_unpacked(table, group, columns)
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
        for value in batch.column(0):
            if row in wanted:
                found = value.as_py()
                is_struct = isinstance(found, dict)
                yield row, found["bytes"] if is_struct else found, found.get("path") if is_struct else None
            row += 1
        if row > last:
            return


def _is_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
