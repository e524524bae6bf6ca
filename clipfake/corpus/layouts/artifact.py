"""The layout `artifact`: folders, at any depth, that each hold a metadata.csv which names and labels their images."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import tee

from clipfake.corpus.layouts.base import ABSENT, Item, Layout, LayoutOptions
from clipfake.corpus.layouts.csv_rows import CsvFile, clean
from clipfake.corpus.layouts.labels import label_of_number
from clipfake.corpus.listing import stat_files, walk
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris

METADATA = "metadata.csv"


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The rows of every metadata.csv. Folders above (a mirror has Real/ and Fake/) say nothing about the label."""
    for folder in walk(place, tally, allow_outside=options.allow_outside):
        metadata = f"{folder.uri}/{METADATA}"
        if any(entry.uri == metadata for entry in folder.files):
            folder.folders.clear()  # what is below belongs to this table
            yield from _rows(folder.uri, CsvFile(metadata))


def _rows(folder: str, table: CsvFile) -> Iterator[Item]:
    """target 0 is real and any other integer fake; image_path counts from the folder; memory: its paths."""
    lacking = {"image_path", "target"} - set(table.columns)
    if lacking:
        raise UsageError(f"{uris.shown(table.uri)} lacks the columns {', '.join(sorted(lacking))}: {table.described()}")
    generator = uris.shown(folder.rpartition("/")[2])
    rows, paths = tee(_checked(folder, table))
    for row, entry in zip(rows, stat_files(row[0] for row in paths), strict=True):
        uri, label, target, category = row
        yield Item(
            uri,
            entry.version if entry else ABSENT,
            entry.size if entry else None,
            label=label,
            target=target,
            generator=generator,
            category=category,
        )


def _checked(folder: str, table: CsvFile) -> Iterator[tuple[str, int, str, str | None]]:
    """(URI, label, target, category) of each row."""
    seen: set[str] = set()
    for line, row in table.rows():
        path, target = posixpath.normpath(row["image_path"].strip()), row["target"].strip()
        if path.startswith(("/", "../")) or path in (".", ".."):
            raise table.error(line, f"image_path {row['image_path']!r} is not below the folder")
        if path in seen:
            raise table.error(line, f"image_path {path!r} is there twice")
        seen.add(path)
        try:
            label = label_of_number(target)
        except ValueError:
            raise table.error(line, f"target {target!r} is not an integer (0 is real, any other fake)") from None
        yield uris.join(folder, path), label, target, clean(row.get("category"))


LAYOUT = Layout("artifact", "ArtiFact: a metadata.csv in each generator's folder; target 0 is real, others fake", items)
