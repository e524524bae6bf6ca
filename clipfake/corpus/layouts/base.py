"""What a layout is: the named rule by which a corpus is listed and labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clipfake.errors import UsageError
from clipfake.options import above, between, check, option

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


def _seconds(text: str | None) -> float | None:
    """`2s`, `2` -> 2.0"""
    try:
        return None if text is None else float(text.removesuffix("s"))
    except ValueError:
        raise UsageError(f"--every takes seconds, for example 2s, not {text!r}") from None


def _columns(pairs: list[str]) -> dict[str, str]:
    """`label=target` -> {"label": "target"}."""
    parted = [pair.partition("=") for pair in pairs]
    if any(not sign or not value for _, sign, value in parted):
        raise UsageError("--columns takes NAME=COLUMN, for example --columns label=target")
    return {name: value for name, _, value in parted}


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a user can say about a corpus beyond the layout's name.

    columns: what is wanted (`path`, `label`, `generator`, ...; `image` for bytes in Parquet) -> the table's column.
    real, fake: globs of folders, for the layout `folders`.
    group_by: a regular expression searched in the decoded item_id; its groups joined by "/" (the whole match where it
    has none) are the group_id.
    frames, every: which frames of a video, for the layout `videos`: so many, spread, or one in so many seconds.
    allow_outside: follow symbolic links out of the corpus, and take from a table on an object store the names of files
    in other places, this machine's among them.
    """

    columns: dict[str, str] = option(  # noqa: RUF009 - a field, with a default factory
        {},
        "NAME=COLUMN: which column of a table to take, e.g. label=target; can be given several times.",
        given_as=list[str],
        parse=_columns,
        inputs=("corpus", "manifest"),
    )
    real: tuple[str, ...] = option((), "Glob of folders that hold real images (layout folders).", inputs=("corpus",))
    fake: tuple[str, ...] = option((), "Glob of folders that hold fake images (layout folders).", inputs=("corpus",))
    group_by: str | None = option(
        None,
        "Regular expression searched in the path; what its groups match is the group_id (scene, video).",
        inputs=("corpus",),
    )
    frames: int | None = option(
        None, "Frames of each video, spread over it (layout videos); 16 unless --every is given.",
        check=between(1, 10_000), inputs=("corpus",),
    )  # fmt: skip
    every: float | None = option(
        None, "Seconds from one frame of a video to the next, e.g. 2s (layout videos).",
        check=above(0), given_as=str, parse=_seconds, inputs=("corpus",),
    )  # fmt: skip
    allow_outside: bool = option(
        False,
        "Follow symbolic links out of the corpus; let tables and manifests on a store name files elsewhere.",
        flag="--allow-outside",
        inputs=("corpus", "manifest"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class Layout:
    """A named rule. `items(place, options, tally)` yields the items in a fixed order, streamed.

    It raises UsageError for a place that does not fit the layout, ClipfakeError for a listing that breaks off.

    of_containers : `items` also takes `beside`, which says how they are looked into: see `Beside`
    """

    name: str
    help: str
    items: Callable[..., Iterator[Item]]
    options: frozenset[str] = frozenset()
    of_containers: bool = False
