"""The layout `images`: every regular file below a place is an item, told by its content and not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.layouts.magic import HEAD_BYTES, looks_like_image
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import read_head
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage.uri import shown

SNIFFED_FILES = 10_000
_LAYOUTS = (
    *((".tar", "webdataset"), (".parquet", "parquet")),
    *(("metadata.csv", "artifact"), (".csv", "csv"), (".tsv", "csv")),
)


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """Raises UsageError where none of the first SNIFFED_FILES files begins like an image."""
    entries = list_files(place, tally, allow_outside=options.allow_outside)
    seen: list[Entry] = []
    for entry in entries:
        seen.append(entry)
        if looks_like_image(read_head(entry.uri, HEAD_BYTES)):
            break
        if len(seen) == SNIFFED_FILES:
            raise UsageError(
                f"{shown(place)} holds no image: none of its first {SNIFFED_FILES} files begins like one{_hint(seen)}"
            )
    else:
        raise UsageError(f"{shown(place)} holds no image: {len(seen)} files, none begins like one{_hint(seen)}")
    for entry in chain(seen, entries):
        yield Item(entry.uri, entry.version, entry.size)


def _hint(seen: list[Entry]) -> str:
    """Which layout the names of the files ask for, as the end of a message."""
    names = [entry.uri.rpartition("/")[2].lower() for entry in seen]
    for ending, layout in _LAYOUTS:
        if any(name.endswith(ending) for name in names):
            return f"; for its {ending.removeprefix('.')} give --layout {layout}"
    return ""


LAYOUT = Layout("images", "every file below a folder or prefix; no labels", items)
