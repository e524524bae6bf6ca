"""Merging the many small files of a report or embedding folder into few large ones, safe to kill at any moment."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris
from clipfake.storage.claim import claimed
from clipfake.storage.committed import (
    COMPACTION_FOLDER,
    SOURCES_KEY,
    Span,
    committed_files,
    data_files,
    merged_name,
    sources_of,
)
from clipfake.storage.ledger import ROW_GROUP_ROWS, complete
from clipfake.storage.runs import new_run_id
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import KIND_KEY, Check, Store, StoredFile, kind_of, nothing_to_check
from clipfake.storage.units import PLAN_FOLDER
from clipfake.storage.vectors import parquet_writer

log = logging.getLogger(__name__)

TARGET_BYTES = 256 << 20
SMALL_BYTES = 64 << 20  # files from this size on are left as they are


@dataclass(frozen=True)
class Compaction:
    """What one compaction did."""

    files_before: int
    files_after: int
    rows: int


def compact(place: str, target_bytes: int = TARGET_BYTES) -> Compaction:
    """Merges the small files of a folder, those with the same footer together, up to `target_bytes` a file.

    Files of a report that lack columns, since an older version wrote them, are written anew with them, whatever their
    size: most readers take the columns of the first file for those of all.

    For each merge an intent is written first, naming its sources and its target; then the target appears in one step;
    then the sources go; then the intent. Whoever finds an intent finishes it, under the same names: a compaction that
    slept meanwhile then overwrites the target with the same rows. Between the target's appearance and the sources' end
    a plain reader sees their rows twice, never not at all; our own readers see each row once, since the target's
    footer names its sources.

    Raises UsageError where the folder is no report or embeddings, is being written, or has open units.
    """
    store = Store(uris.place(place))
    if kind_of(store.uri) not in ("report", "embeddings"):
        raise UsageError(f"{place} holds no report and no embeddings: there is nothing to compact")
    with claimed(store, run_id := new_run_id()) as claim:
        finish_compactions(store, claim.check)
        if store.folders(PLAN_FOLDER):
            raise UsageError(f"{place} has units of an earlier run that are still open: run the same job again first")
        before = data_files(store)
        rows = 0
        for number, sources in enumerate(_groups(store, before, target_bytes)):
            target = merged_name(run_id, number)
            intent = f"{COMPACTION_FOLDER}/{run_id}-{number:05d}.json"
            store.write_bytes(intent, json.dumps({"target": target, "sources": sources}, indent=1).encode())
            rows += _finish(store, intent, claim.check)
        return Compaction(len(before), len(data_files(store)), rows)


def finish_compactions(store: Store, check: Check = nothing_to_check) -> None:
    """Finishes what a killed compaction left, and deletes what a run that slept has written after it was merged.

    The caller holds the claim, and `check` raises where it has lost it.
    """
    for file in store.list(COMPACTION_FOLDER):
        _finish(store, f"{COMPACTION_FOLDER}/{file.name}", check)
    files = data_files(store)
    merged = {name for file in files for name in sources_of(store, file)}
    if late := [file.name for file in files if file.name in merged]:
        log.warning("deleting %d files that were written after their rows were merged into others", len(late))
        check()
        for name in late:
            store.delete(name)


def _finish(store: Store, intent: str, check: Check) -> int:
    """Does what is left of a merge; the rows that it wrote.

    An intent whose sources do not all count any more came too late: they were merged otherwise meanwhile.
    """
    plan = json.loads(store.read_bytes(intent))
    target, sources = plan["target"], plan["sources"]
    check()  # after the intent: whoever takes over from us sees it
    rows = 0
    if not store.exists(target):
        if not set(committed_files(store)).issuperset(sources):
            store.delete(intent)
            return 0
        rows = _merge(store, sources, target, check)
    check()
    for name in sources:
        store.delete(name)
    store.delete(intent)
    return rows


def _groups(store: Store, entries: Sequence[StoredFile], target_bytes: int) -> Iterator[list[str]]:
    """Runs of two and more small files that fit into one of `target_bytes`, alike in footer and schema; and files that
    lack columns."""
    sizes = {entry.name: entry.size for entry in entries}
    alike: dict[tuple[str, ...], list[str]] = {}
    lacking = set()
    for name in sizes:
        stored = pq.read_schema(store.path(name), filesystem=store.filesystem)
        schema = _grown(stored)
        if schema != stored:
            lacking.add(name)
        if sizes[name] < min(SMALL_BYTES, target_bytes) or name in lacking:
            footer = {k: v for k, v in (schema.metadata or {}).items() if k not in (b"ARROW:schema", SOURCES_KEY)}
            alike.setdefault((str(sorted(footer.items())), str(schema.remove_metadata())), []).append(name)
    for files in alike.values():
        group: list[str] = []
        held = 0
        for name in files:
            if group and held + sizes[name] > target_bytes:
                yield from [group] if len(group) > 1 or lacking.issuperset(group) else []
                group, held = [], 0
            group.append(name)
            held += sizes[name]
        yield from [group] if len(group) > 1 or lacking.issuperset(group) else []


def _grown(schema: pa.Schema) -> pa.Schema:
    """The schema of a file with the columns that reports have got since it was written."""
    if (schema.metadata or {}).get(KIND_KEY) != b"report":
        return schema
    grown = pa.unify_schemas([schema, REPORT_SCHEMA])
    names = dict.fromkeys([*REPORT_SCHEMA.names, *schema.names])
    return pa.schema([grown.field(name) for name in names], schema.metadata)


def _merge(store: Store, sources: list[str], target: str, check: Check) -> int:
    """Writes the rows of `sources` into `target`, visible at once; memory: a row group."""
    schema = _grown(pq.read_schema(store.path(sources[0]), filesystem=store.filesystem))
    places, expected = _places(store, sources)
    schema = schema.with_metadata({**(schema.metadata or {}), SOURCES_KEY: json.dumps(places).encode()})
    written = 0
    with store.writing(target, check) as sink, parquet_writer(sink, schema) as writer:
        for table in _row_groups(store, sources, schema):
            writer.write_table(table)
            written += table.num_rows
        if written != expected:
            raise ClipfakeError(f"merging gave {written} rows of {expected}; nothing was changed")
    return written


def _places(store: Store, sources: list[str]) -> tuple[dict[str, Span], int]:
    """Where the rows of each source come to lie, those of the files that it was merged from too; and how many."""
    places: dict[str, Span] = {}
    first, entries = 0, {entry.name: entry for entry in data_files(store)}
    for name in sources:
        count = pq.read_metadata(store.path(name), filesystem=store.filesystem).num_rows
        places[name] = Span(first, count)
        for inner, (at, rows) in sources_of(store, entries[name]).items():
            places[inner] = Span(first + at, rows)
        first += count
    return places, first


def _row_groups(store: Store, sources: list[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of `sources` in tables of ROW_GROUP_ROWS and a little more, the last one smaller."""
    held: list[pa.RecordBatch] = []
    for name in sources:
        with pq.ParquetFile(store.path(name), filesystem=store.filesystem) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                held.append(complete(batch, schema))
                if sum(b.num_rows for b in held) >= ROW_GROUP_ROWS:
                    yield pa.Table.from_batches(held, schema)
                    held = []
    if held:
        yield pa.Table.from_batches(held, schema)
