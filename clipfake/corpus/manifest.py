"""A manifest: a folder of Parquet that lists a corpus, one row an item. Written in a stream, read as a dataset."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from clipfake import __version__
from clipfake.corpus.absent import said
from clipfake.corpus.beside import Beside, flattened
from clipfake.corpus.layouts import LAYOUTS
from clipfake.corpus.layouts.base import ABSENT, FAKE, REAL, Item, Layout, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import KIND_KEY, Store, check_apart, check_new, kind_of
from clipfake.storage.uri import check_within_reach, is_local, item_id, shown

log = logging.getLogger(__name__)

ROW_GROUP_ROWS = 100_000
STREAM_ROWS = 10_000  # of a listing that somebody waits for
PART_ROWS = 5_000_000

_ID_KEY, _PART_KEY, _PARTS_KEY = b"clipfake.manifest", b"clipfake.part", b"clipfake.parts"
_HOW = "make one with `clipfake index CORPUS --out MANIFEST`"


@dataclass(slots=True)
class ManifestSummary:
    """What was listed. generators: name ("" where null) -> counts of real, fake, unlabelled. bytes: of known sizes.

    absent: files that a table names and that are not there; absent_example is the URI of one.
    """

    items: int = 0
    real: int = 0
    fake: int = 0
    unlabelled: int = 0
    absent: int = 0
    absent_example: str = ""
    without_group: int = 0
    bytes: int = 0
    parts: int = 0
    generators: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)


def write_manifest(place: str, layout: str, options: LayoutOptions, out: Store) -> ManifestSummary:
    """List the corpus at the canonical URI `place` into the folder `out`, replacing a manifest that is there.

    Memory is bounded by one row group and what the layout holds. Raises UsageError for an unknown layout or option, a
    place without items, and an `out` that holds something else; ClipfakeError where a listing breaks off. Then nothing
    was written, or (beyond PART_ROWS items) a manifest that `read_manifest` refuses as incomplete.
    """
    _rule(layout, options)
    _check_out(place, out)
    group = _grouping(options.group_by)
    tally = Tally()
    items, first = _begin(place, layout, options, tally, ROW_GROUP_ROWS)
    summary, census = ManifestSummary(), Counter[tuple[str, str]]()
    footer = {
        KIND_KEY: b"manifest",
        _ID_KEY: uuid.uuid4().hex.encode(),
        b"clipfake.layout": layout.encode(),
        b"clipfake.corpus": place.encode(),
        b"clipfake.options": json.dumps(asdict(options), sort_keys=True).encode(),
        b"clipfake.version": __version__.encode(),
    }
    batch = first
    while batch:
        with out.writing(f"part-{summary.parts:05}.parquet") as sink:
            schema = MANIFEST_SCHEMA.with_metadata({**footer, _PART_KEY: str(summary.parts).encode()})
            with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
                rows = 0
                while batch and rows < PART_ROWS:
                    writer.write_batch(_record_batch(batch, group, summary, census))
                    rows += len(batch)
                    batch = list(islice(items, ROW_GROUP_ROWS))
                summary.parts += 1
                if not batch:
                    writer.add_key_value_metadata({_PARTS_KEY: str(summary.parts).encode()})
            if summary.parts == 1:  # an old manifest goes only now that there is something to put in its place
                for old in out.list():
                    out.delete(old.name)
    for (generator, name), count in sorted(census.items()):
        summary.generators.setdefault(generator, {"real": 0, "fake": 0, "unlabelled": 0})[name] = count
    summary.skipped, summary.warnings = dict(tally.skipped), dict(tally.warnings)
    _warn(summary, options)
    return summary


def list_corpus(
    place: str, layout: str, options: LayoutOptions, tally: Tally | None = None, beside: Beside = flattened
) -> pa.RecordBatchReader:
    """The rows that `write_manifest` would write, as a stream, with MANIFEST_SCHEMA.

    tally : counts what is no item, and warnings; complete when the stream has ended
    beside : how tar shards and Parquet files are looked into

    Raises what it raises, and what concerns the place as a whole before it returns.
    """
    group = _grouping(options.group_by)
    items, first = _begin(place, layout, options, Tally() if tally is None else tally, STREAM_ROWS, beside)

    def batches() -> Iterator[pa.RecordBatch]:
        batch, summary, census = first, ManifestSummary(), Counter[tuple[str, str]]()
        while batch:
            yield _record_batch(batch, group, summary, census)
            batch = list(islice(items, STREAM_ROWS))
        _warn(summary, options)

    return pa.RecordBatchReader.from_batches(MANIFEST_SCHEMA, batches())


def read_manifest(uri: str) -> ds.Dataset:
    """The manifest at a canonical URI, as a dataset of its files.

    Raises UsageError where it is no manifest, lacks columns, or was cut off while it was written.
    """
    if kind_of(uri) != "manifest":
        raise UsageError(f"{shown(uri)} is not a manifest: {_HOW}")
    store = Store(uri)
    is_file = store.filesystem.get_file_info(store.path()).is_file
    parts = []
    if store.is_object_store or not is_file:  # an object may have the name of a folder
        parts = [store.path(file.name) for file in store.list() if re.fullmatch(r"[^_].*\.parquet", file.name)]
    paths = parts if parts or not is_file else [store.path()]
    metadata = []
    for path in paths:
        schema = pq.read_schema(path, filesystem=store.filesystem)
        lacking = [f.name for f in MANIFEST_SCHEMA if f.name not in schema.names]
        if lacking:
            raise UsageError(f"the manifest {shown(uri)} lacks the columns {', '.join(lacking)}: {_HOW}")
        other = [f.name for f in MANIFEST_SCHEMA if schema.field(f.name).type != f.type]
        if other:
            wanted = ", ".join(f"{name} ({MANIFEST_SCHEMA.field(name).type})" for name in other)
            raise UsageError(f"the manifest {shown(uri)} has other types than {wanted}: {_HOW}")
        metadata.append(pq.read_metadata(path, filesystem=store.filesystem).metadata)
    if not _is_complete(metadata):
        raise UsageError(f"the manifest {shown(uri)} is incomplete, its writing was cut off: {_HOW} again")
    return ds.dataset(paths, filesystem=store.filesystem, format="parquet", schema=MANIFEST_SCHEMA)


def manifest_rows(uri: str, scanner: ds.Scanner, options: LayoutOptions) -> pa.RecordBatchReader:
    """The rows of the manifest at `uri`.

    Unless `allow_outside`, reading on raises UsageError where a manifest on an object store names a file of this
    machine, or of a store with other credentials.
    """
    rows = scanner.to_reader()
    return rows if options.allow_outside or is_local(uri) else _within_reach(uri, rows)


def _within_reach(uri: str, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            hosts = pc.replace_substring_regex(batch["uri"], r"(?s)^([a-z0-9+.-]*://[^/]*).*", r"\1")
            for host in pc.unique(hosts).to_pylist():
                check_within_reach(uri, host)
            yield batch

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def _rule(layout: str, options: LayoutOptions) -> Layout:
    """The layout of that name. Raises UsageError where there is none or it takes no such options."""
    rule = LAYOUTS.get(layout)
    if rule is None:
        raise UsageError(f"unknown layout {layout!r}: use one of {', '.join(LAYOUTS)}")
    given = {name for name in ("columns", "real", "fake", "frames", "every") if getattr(options, name)}
    if given - rule.options:
        raise UsageError(f"the layout {layout} takes no option {', '.join(sorted(given - rule.options))}")
    return rule


def _begin(
    place: str, layout: str, options: LayoutOptions, tally: Tally, rows: int, beside: Beside = flattened
) -> tuple[Iterator[Item], list[Item]]:
    """The items of a place and the first `rows` of them. Raises UsageError where there is none."""
    rule = _rule(layout, options)
    items = rule.items(place, options, tally, **({"beside": beside} if rule.of_containers else {}))
    first = list(islice(items, rows))
    if not first:
        seen = "".join(f"; {count} skipped: {kind}" for kind, count in tally.skipped.items())
        raise UsageError(f"nothing at {shown(place)} is an item of the layout {layout}{seen}")
    return items, first


def _warn(summary: ManifestSummary, options: LayoutOptions) -> None:
    """Log what the user should know of the items as a whole."""
    if summary.absent:
        log.warning("%s", said(summary.absent, summary.items, summary.absent_example))
    if options.group_by and summary.without_group:
        log.warning(
            "%d of %d items do not match --group-by: they have no group_id", summary.without_group, summary.items
        )


def _is_complete(footers: list[dict[bytes, bytes]]) -> bool:
    """Whether the parts are all of one manifest, and all there are: the last one says how many."""
    if all(_ID_KEY not in footer for footer in footers):
        return True  # made by hand: the kind is all it says
    ids = {footer.get(_ID_KEY) for footer in footers}
    parts = sorted(int(footer.get(_PART_KEY, b"-1")) for footer in footers)
    totals = [int(footer[_PARTS_KEY]) for footer in footers if _PARTS_KEY in footer]
    return len(ids) == 1 and totals == [len(footers)] and parts == list(range(len(footers)))


def _check_out(place: str, out: Store) -> None:
    if not out.exists():
        pass
    elif not out.filesystem.get_file_info(out.path()).is_file:
        parts = [file.name for file in out.list() if re.fullmatch(r"part-\d{5}\.parquet", file.name)]
        check_new(out, parts if kind_of(out.uri) == "manifest" else ())
    else:
        raise UsageError(f"{shown(out.uri)} is a file: give --out a new folder")
    check_apart(place, out.uri)


def _grouping(pattern: str | None) -> Callable[[str], str | None] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by is no regular expression: {error}") from None

    def group(item: str) -> str | None:
        match = compiled.search(shown(item))
        if match is None:
            return None
        return "/".join(part or "" for part in match.groups()) if compiled.groups else match[0]

    return group


def _record_batch(
    items: list[Item],
    group: Callable[[str], str | None] | None,
    summary: ManifestSummary,
    census: Counter[tuple[str, str]],
) -> pa.RecordBatch:
    """The items as rows, counted into the summary."""
    ids = [item_id(item.uri, item.member) for item in items]
    groups = [group(found) for found in ids] if group else [item.group_id for item in items]
    made: dict[str, list[Any]] = {
        "item_id": ids,
        "group_id": groups,
        "member": [_readable(item.member) for item in items],
    }
    columns: list[list[Any]] = [made.get(f.name) or [getattr(item, f.name) for item in items] for f in MANIFEST_SCHEMA]
    names = {REAL: "real", FAKE: "fake", None: "unlabelled"}
    labels = Counter(item.label for item in items)
    summary.items += len(items)
    summary.real += labels[REAL]
    summary.fake += labels[FAKE]
    summary.unlabelled += labels[None]
    absent = [found for found, item in zip(ids, items, strict=True) if item.version == ABSENT]
    summary.absent += len(absent)
    summary.absent_example = summary.absent_example or next(iter(absent), "")
    summary.without_group += groups.count(None)
    summary.bytes += sum(item.size or 0 for item in items)
    census.update((item.generator or "", names[item.label]) for item in items)
    arrays = [_array(column, f.type) for column, f in zip(columns, MANIFEST_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=MANIFEST_SCHEMA)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """As pa.array; text that is no valid UTF-8 (lone surrogates out of JSON) gets ? in place of what is not."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([value and value.encode("utf-8", "replace").decode() for value in values], kind)


def _readable(member: str | None) -> str | None:
    """A member's name as valid UTF-8: other bytes are shown as \\xNN (item_id holds them exactly)."""
    if member is None or member.isascii():
        return member
    return member.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
