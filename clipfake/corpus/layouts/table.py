"""The layout `csv`: a table that names files, with labels and more where it has columns for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import tee

from clipfake.corpus.layouts.base import ABSENT, FAKE, REAL, Item, Layout, LayoutOptions
from clipfake.corpus.layouts.csv_rows import CsvFile, clean
from clipfake.corpus.layouts.labels import label_of
from clipfake.corpus.listing import stat_files
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.uri import check_within_reach

# What is wanted -> the table's columns that are taken for it, the first that is there; --columns comes before.
COLUMNS = {
    "path": ("image_path", "path", "filename", "uri", "file"),
    "label": ("label", "target", "typ"),
    "generator": ("generator", "typ"),
    "category": ("category",),
    "caption": ("caption",),
    "group_id": ("group_id",),
    "split": ("split",),
}


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The rows of the CSV at `place`. Paths count from its folder, unless absolute or URIs.

    A label is 0, false or real, 1, true or fake (in any case); any other integer is fake as in ArtiFact; empty is none.
    A table on an object store names files of that kind of store only, unless `allow_outside`.
    A column `typ` (grip-unina) is `real` or the generator's name. All else is an error that names the line.
    """
    table = CsvFile(place)
    columns = _columns(table, options)

    def value(row: dict[str, str], name: str) -> str | None:
        return clean(row[columns[name]]) if name in columns else None

    rows, paths = tee(_checked(table, columns, options.allow_outside))
    for (uri, line, row), entry in zip(rows, stat_files(uri for uri, _, _ in paths), strict=True):
        target = row.get(columns.get("label", ""), "").strip()
        yield Item(
            uri,
            entry.version if entry else ABSENT,
            entry.size if entry else None,
            label=_label(table, line, target, columns.get("label") == "typ"),
            target=clean(target),
            generator=value(row, "generator"),
            category=value(row, "category"),
            caption=value(row, "caption"),
            group_id=value(row, "group_id"),
            split=value(row, "split"),
        )


def _columns(table: CsvFile, options: LayoutOptions) -> dict[str, str]:
    unknown = set(options.columns) - set(COLUMNS)
    if unknown:
        raise UsageError(f"--columns takes {', '.join(COLUMNS)}, not {', '.join(sorted(unknown))}")
    lacking = set(options.columns.values()) - set(table.columns)
    if lacking:
        raise UsageError(f"{uris.shown(table.uri)} has no column {', '.join(sorted(lacking))}: {table.described()}")
    found = {
        name: next(column for column in candidates if column in table.columns)
        for name, candidates in COLUMNS.items()
        if set(candidates) & set(table.columns)
    }
    found.update(options.columns)
    if "path" not in found:
        raise UsageError(
            f"{uris.shown(table.uri)} has no column {' or '.join(COLUMNS['path'])}: {table.described()}; name "
            "the column of the paths with --columns path=NAME"
        )
    return found


def _checked(table: CsvFile, columns: dict[str, str], allow_outside: bool) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(URI, line, row) of each row; a file named twice is an error, since it would be one item with two rows."""
    folder = table.uri.rpartition("/")[0]
    seen: set[str] = set()
    for line, row in table.rows():
        text = row[columns["path"]]
        if not text.strip():
            raise table.error(line, "the path is empty")
        try:
            uri = _locate(folder, text)
            if not allow_outside:
                check_within_reach(table.uri, uri)
        except UsageError as error:
            raise table.error(line, str(error)) from None
        if uri in seen:
            raise table.error(line, f"the file {uris.shown(uri)!r} is there twice")
        seen.add(uri)
        yield uri, line, row


def _locate(folder: str, text: str) -> str:
    if "://" in text:
        return uris.place(text)
    if uris.is_local(folder):
        return uris.from_path(os.path.join(uris.to_path(folder), text.encode("utf-8", "surrogateescape")))  # noqa: PTH118
    return uris.join(folder, text.removeprefix("./"))


def _label(table: CsvFile, line: int, target: str, is_typ: bool) -> int | None:
    if is_typ and target:
        return REAL if target.lower() == "real" else FAKE
    try:
        return label_of(target)
    except ValueError:
        raise table.error(line, f"the label {target!r} is neither 0, 1, false, true, real nor fake") from None


LAYOUT = Layout(
    "csv", "a CSV that names files, with labels where it has a column for them", items, frozenset({"columns"})
)
