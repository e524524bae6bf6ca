"""The layout `csv`: a table that names files, with labels and more where it has columns for them."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile, tee

from clipfake.corpus.frames import moment_of
from clipfake.corpus.layouts.base import ABSENT, FAKE, REAL, Item, Layout, LayoutOptions
from clipfake.corpus.layouts.csv_rows import CsvFile, clean
from clipfake.corpus.layouts.labels import label_of
from clipfake.corpus.listing import Entry, stat_files
from clipfake.corpus.tally import Tally
from clipfake.corpus.tar_members import find_members
from clipfake.errors import ClipfakeError, UsageError
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

_TAR = ".tar"


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The rows of the CSV at `place`. Paths count from its folder, unless absolute or URIs.

    A URI may name a member of a tar, a row of a Parquet file or a frame of a video by `#`, as item_ids do.
    A label is 0, false or real, 1, true or fake (in any case); any other integer is fake as in ArtiFact; empty is none.
    A table on an object store names files of that kind of store only, unless `allow_outside`.
    A column `typ` (grip-unina) is `real` or the generator's name. All else is an error that names the line.
    """
    table = CsvFile(place)
    columns = _columns(table, options)

    def value(row: dict[str, str], name: str) -> str | None:
        return clean(row[columns[name]]) if name in columns else None

    tars = _Tars(table, columns["path"])
    rows, ahead = tee(_checked(table, columns["path"], options.allow_outside))
    for (uri, member, line, row), entry in zip(rows, stat_files(uri for uri, *_ in ahead), strict=True):
        target = row.get(columns.get("label", ""), "").strip()
        item = tars.item(entry, member) if entry else Item(uri, ABSENT, None, member)
        yield replace(
            item,
            label=_label(table, line, target, columns.get("label") == "typ"),
            target=clean(target),
            generator=value(row, "generator"),
            category=value(row, "category"),
            caption=value(row, "caption"),
            group_id=value(row, "group_id") or item.group_id,
            split=value(row, "split"),
        )


class _Tars:
    """Members that a table names, with their offsets in tars, each of which is walked through once."""

    def __init__(self, table: CsvFile, path: str) -> None:
        self._table, self._path = table, path
        self._named: dict[str, set[str]] | None = None
        self._found: dict[str, dict[str, tuple[int, int]]] = {}

    def item(self, entry: Entry, member: str | None) -> Item:
        """The item without what the table says of it."""
        if member is None:
            return Item(entry.uri, entry.version, entry.size)
        if not entry.uri.lower().endswith(_TAR):
            video = None if member.isdecimal() else entry.uri
            return Item(entry.uri, entry.version, None, member, group_id=video)
        if entry.uri not in self._found:
            self._found[entry.uri] = self._walked(entry.uri)
        offset, size = self._found[entry.uri].get(member, (0, None))
        return Item(entry.uri, ABSENT if size is None else entry.version, size, member, offset)

    def _walked(self, uri: str) -> dict[str, tuple[int, int]]:
        if self._named is None:
            self._named = defaultdict(set)
            for container, member, *_ in _checked(self._table, self._path, True):
                if member is not None:
                    self._named[container].add(member)
        try:
            return {name: (offset, size) for name, offset, size in find_members(uri, self._named[uri])}
        except OSError as error:
            raise ClipfakeError(f"the listing broke off at {uris.shown(uri)}: {error}") from error


def _columns(table: CsvFile, options: LayoutOptions) -> dict[str, str]:
    named = {name: column for name, column in options.columns.items() if name != "image"}  # that is of Parquet files
    unknown = set(named) - set(COLUMNS)
    if unknown:
        raise UsageError(f"--columns takes {', '.join(COLUMNS)}, image, not {', '.join(sorted(unknown))}")
    lacking = set(named.values()) - set(table.columns)
    if lacking:
        raise UsageError(f"{uris.shown(table.uri)} has no column {', '.join(sorted(lacking))}: {table.described()}")
    found = {
        name: next(column for column in candidates if column in table.columns)
        for name, candidates in COLUMNS.items()
        if set(candidates) & set(table.columns)
    }
    found.update(named)
    if "path" not in found:
        raise UsageError(
            f"{uris.shown(table.uri)} has no column {' or '.join(COLUMNS['path'])}: {table.described()}; name "
            "the column of the paths with --columns path=NAME"
        )
    return found


def _checked(table: CsvFile, path: str, allow_outside: bool) -> Iterator[tuple[str, str | None, int, dict[str, str]]]:
    """(URI, member, line, row) of each row; an item named twice is an error, since it would have two rows."""
    from clipfake.corpus.seen import Seen  # imports numpy, which --help does not need

    seen = Seen()
    for uri, member, line, row in _located(table, path, allow_outside):
        item = uris.item_id(uri, member)
        if seen.again(item) and _named_before(table, path, item, line):
            raise table.error(line, f"the file {uris.shown(item)!r} is there twice")
        yield uri, member, line, row


def _named_before(table: CsvFile, path: str, item: str, line: int) -> bool:
    """Whether a row before that line names the item."""
    before = takewhile(lambda found: found[2] < line, _located(table, path, True))
    return any(uris.item_id(uri, member) == item for uri, member, *_ in before)


def _located(table: CsvFile, path: str, allow_outside: bool) -> Iterator[tuple[str, str | None, int, dict[str, str]]]:
    for line, row in table.rows():
        text = row[path]
        if not text.strip():
            raise table.error(line, "the path is empty")
        try:
            uri, member = _locate(table.uri, text)
            if not allow_outside:
                check_within_reach(table.uri, uri)
        except UsageError as error:
            raise table.error(line, str(error)) from None
        yield uri, member, line, row


def _locate(table: str, text: str) -> tuple[str, str | None]:
    """The URI and the member that a row of the table at this URI names."""
    folder = table.rpartition("/")[0]
    if "://" in text:
        uri, member = uris.split_item_id(text)
        named = uris.place(uri)
        if member is not None and not named.lower().endswith(_TAR) and math.isnan(moment_of(member)):
            if not named.lower().endswith(".parquet"):
                raise UsageError(f"{uris.shown(named)} is no .tar and no .parquet, and has no members: write # as %23")
            if not member.isdecimal():
                raise UsageError(f"{member!r} is no row of a Parquet file: give its number, from 0")
        return named, member
    if uris.is_local(folder):
        path = os.path.join(uris.to_path(folder), text.encode("utf-8", "surrogateescape"))  # noqa: PTH118
        return uris.from_path(path), None
    return uris.join(folder, text.removeprefix("./")), None


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
