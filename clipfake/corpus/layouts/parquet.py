"""The layout `parquet`: Parquet files with a column of image bytes, or Hugging Face's struct of bytes and path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clipfake.corpus.layouts.base import FAKE, REAL, Item, Layout, LayoutOptions
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_TEXTS = ("generator", "category", "caption", "group_id", "split")
_LABELS = {None: None, "0": REAL, "1": FAKE, "False": REAL, "True": FAKE}


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """One item a row; the member is the row's number. The images' column is not read, so no item has a size.

    A label is read only from a column that --columns names: 0 or false real, 1 or true fake, null none. The columns
    generator, category, caption, group_id and split are taken under their own names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipfake.corpus.parquet_bytes import is_damage

    unknown = set(options.columns) - {"image", "label", *_TEXTS}
    if unknown:
        raise UsageError(f"--columns knows image, label, {', '.join(_TEXTS)}, not {', '.join(sorted(unknown))}")
    for entry in list_files(place, tally):
        if not entry.uri.endswith(".parquet"):
            tally.skip("file that is not .parquet", entry.uri)
            continue
        source = None
        try:
            source = open_source(entry.uri)
            table = pq.ParquetFile(source.file())
            columns = _columns(table, entry, options)
            yield from _rows(table, entry, columns)
        except (pa.ArrowException, OSError) as error:
            if not is_damage(error):
                raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
            tally.warn("truncated_container", entry.uri, "the Parquet file is damaged; what can be read is listed")
        finally:
            if source is not None:
                source.close()


def _columns(table: pq.ParquetFile, entry: Entry, options: LayoutOptions) -> dict[str, str]:
    """What is wanted -> the column to read for it. Raises UsageError where the bytes or a named column are missing."""
    from clipfake.corpus.parquet_bytes import find_bytes_column

    names = table.schema_arrow.names
    lacking = set(options.columns.values()) - set(names)
    if find_bytes_column(table.schema_arrow, options.columns.get("image")) is None or lacking:
        what = ", ".join(sorted(lacking)) or "with image bytes"
        raise UsageError(
            f"{uris.shown(entry.uri)} has no column {what}: it has {', '.join(names)}; use --columns image=NAME"
        )
    found = {name: name for name in _TEXTS if name in names}
    found.update({name: column for name, column in options.columns.items() if name != "image"})
    return found


def _rows(table: pq.ParquetFile, entry: Entry, columns: dict[str, str]) -> Iterator[Item]:
    """The rows, row group by row group: their number comes from the footer, and only the named columns are read."""
    row = 0
    for group in range(table.num_row_groups):
        end = row + table.metadata.row_group(group).num_rows
        values: dict[str, list[Any]] = {}
        if columns:
            read = table.read_row_group(group, columns=sorted(set(columns.values())), use_threads=False)
            values = {name: read.column(column).to_pylist() for name, column in columns.items()}
        labels = values.pop("label", None)
        for index, number in enumerate(range(row, end)):
            target = None if labels is None or labels[index] is None else str(labels[index])
            if target not in _LABELS:
                raise UsageError(f"{uris.shown(entry.uri)} row {number}: the label {target!r} is neither 0, 1 nor null")
            texts = {name: _text(column[index]) for name, column in values.items()}
            yield Item(
                entry.uri,
                entry.version,
                None,
                member=str(number),
                label=_LABELS[target],
                target=target,
                generator=texts.get("generator"),
                category=texts.get("category"),
                caption=texts.get("caption"),
                group_id=texts.get("group_id"),
                split=texts.get("split"),
            )
        row = end


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


LAYOUT = Layout("parquet", "Parquet with a column of image bytes", items, frozenset({"columns"}))
