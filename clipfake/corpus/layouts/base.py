"""What a layout is: the named rule by which a corpus is listed and labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from clipfake.corpus.tally import Tally

REAL, FAKE = 0, 1
ABSENT = "absent"  # the version of a file that a table names, but that was not there when it was listed


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a corpus: a row of the manifest (see MANIFEST_SCHEMA for the columns).

    member is the raw key: a tar member's name (surrogateescape), a row number in a Parquet file, else None.
    """

    uri: str
    version: str
    size: int | None
    member: str | None = None
    offset: int | None = None
    label: int | None = None
    target: str | None = None
    generator: str | None = None
    category: str | None = None
    caption: str | None = None
    group_id: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a user can say about a corpus beyond the layout's name.

    columns: what is wanted (`path`, `label`, `generator`, ...; `image` for bytes in Parquet) -> the table's column.
    real, fake: globs of folders, for the layout `folders`.
    group_by: a regular expression searched in the decoded item_id; its groups joined by "/" (the whole match where it
    has none) are the group_id.
    """

    columns: dict[str, str] = field(default_factory=dict)
    real: tuple[str, ...] = ()
    fake: tuple[str, ...] = ()
    group_by: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A named rule. `items(place, options, tally)` yields the items in a fixed order, streamed.

    It raises UsageError for a place that does not fit the layout, ClipfakeError for a listing that breaks off.
    """

    name: str
    help: str
    items: Callable[[str, LayoutOptions, Tally], Iterator[Item]]
    options: frozenset[str] = frozenset()
