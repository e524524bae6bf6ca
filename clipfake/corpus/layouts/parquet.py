"""The layout `parquet`: Parquet files with a column of image bytes, or Hugging Face's struct of bytes and path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.layouts.labels import label_of
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import CUT_CONTAINER, Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_TEXTS = ("generator", "category", "caption", "group_id", "split")


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """One item a row; the member is the row's number. The images' column is not read, so no item has a size.

    A label is read only from a column that --columns names: 0, false or real; 1, true or fake; null none. The columns
    generator, category, caption, group_id and split are taken under their own names. A column may also be a folder's
    name, as Hive writes it: `label=fake/`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipfake.corpus.parquet_bytes import is_damage

    unknown = set(options.columns) - {"image", "label", *_TEXTS}
    if unknown:
        raise UsageError(f"--columns knows image, label, {', '.join(_TEXTS)}, not {', '.join(sorted(unknown))}")
    for entry in list_files(place, tally, allow_outside=options.allow_outside):
        if not entry.uri.lower().endswith(".parquet"):
            tally.skip("file that is not .parquet", entry.uri)
            continue
        source = None
        try:
            source = open_source(entry.uri)
            table = pq.ParquetFile(source.file())
            partitions = _partitions(entry.uri[len(place) :])
            yield from _rows(table, entry, _columns(table, entry, partitions, options), partitions)
        except (pa.ArrowException, OSError) as error:
            if source is None or not is_damage(error, source):
                raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
            tally.warn(CUT_CONTAINER, entry.uri, "the Parquet file is damaged; what can be read is listed")
        finally:
            if source is not None:
                source.close()


def _partitions(path: str) -> dict[str, str]:
    """The columns that folders name: `label=fake/generator=sdxl/`."""
    parts = [uris.shown(part).partition("=") for part in path.split("/")[:-1]]
    return {name: value for name, sign, value in parts if sign}


def _columns(table: pq.ParquetFile, entry: Entry, partitions: dict[str, str], options: LayoutOptions) -> dict[str, str]:
    """What is wanted -> the column to read for it. Raises UsageError where the bytes or a named column are missing."""
    from clipfake.corpus.parquet_bytes import find_bytes_column

    schema, wanted = table.schema_arrow, options.columns.get("image")
    names = [*schema.names, *partitions]
    lacking = set(options.columns.values()) - set(names)
    if find_bytes_column(schema, wanted) is None or lacking:
        what = ", ".join(sorted(lacking)) or "with image bytes"
        if wanted in schema.names and not lacking:
            what += f" of the name {wanted}, which is {schema.field(wanted).type}"
        has = ", ".join(f"{field.name} ({field.type})" for field in schema)[:1000]
        how = "" if wanted in schema.names else "; use --columns image=NAME"
        raise UsageError(f"{uris.shown(entry.uri)} has no column {what}: it has {has}{how}")
    found = {name: name for name in _TEXTS if name in names}
    found.update({name: column for name, column in options.columns.items() if name != "image"})
    return found


def _rows(table: pq.ParquetFile, entry: Entry, columns: dict[str, str], partitions: dict[str, str]) -> Iterator[Item]:
    """The rows, row group by row group: their number comes from the footer, and only the named columns are read."""
    from clipfake.corpus.parquet_bytes import check_unpacked, texts

    row = 0
    for group in range(table.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        stored = sorted(set(columns.values()) & set(table.schema_arrow.names))
        check_unpacked(table, group, stored)
        read = table.read_row_group(group, columns=stored, use_threads=False) if stored else None
        values = {
            name: texts(read.column(column)) if read and column in stored else [partitions[column]] * count
            for name, column in columns.items()
        }
        for index in range(count):
            told = {name: _text(column[index]) for name, column in values.items()}
            target = told.pop("label", None)
            try:
                label = label_of(target or "", any_integer=False)
            except ValueError:
                where = f"{uris.shown(entry.uri)} row {row + index}"
                raise UsageError(
                    f"{where}: the label {target!r} is neither 0, 1, false, true, real, fake nor null"
                ) from None
            item = Item(entry.uri, entry.version, None, member=str(row + index), label=label, target=target)
            yield replace(item, **told)  # type: ignore[arg-type]  # the columns of _TEXTS
        row += count


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


LAYOUT = Layout("parquet", "Parquet with a column of image bytes", items, frozenset({"columns"}))
