"""Merging the many small files of a report or embedding folder into few large ones, safe to kill at any moment."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris
from clipfake.storage.claim import claimed
from clipfake.storage.ledger import COMPACTION_FOLDER, ROW_GROUP_ROWS, superseded_files
from clipfake.storage.runs import new_run_id
from clipfake.storage.store import Store, kind_of
from clipfake.storage.units import PLAN_FOLDER

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

    For each merge an intent is written first, naming its sources and its target; then the target appears in one step;
    then the sources go; then the intent. Whoever finds an intent finishes it if the target is there, else forgets it.
    Between the target's appearance and the sources' end a plain reader sees their rows twice, never not at all; our own
    readers look at the intents and see each row once.

    Raises UsageError where the folder is no report or embeddings, is being written, or has open units.
    """
    store = Store(uris.place(place))
    if kind_of(store.uri) not in ("report", "embeddings"):
        raise UsageError(f"{place} holds no report and no embeddings: there is nothing to compact")
    with claimed(store, run_id := new_run_id()) as claim:
        finish_compactions(store)
        if store.folders(PLAN_FOLDER):
            raise UsageError(f"{place} has units of an earlier run that are still open: run the same job again first")
        names = _data_files(store)
        rows = 0
        for number, sources in enumerate(_groups(store, names, target_bytes)):
            target = f"{run_id}-c{number:05d}.parquet"
            intent = f"{COMPACTION_FOLDER}/{run_id}-{number:05d}.json"
            store.write_bytes(intent, json.dumps({"target": target, "sources": sources}, indent=1).encode())
            claim.check()
            rows += _merge(store, sources, target)
            _clear(store, intent, sources)
        return Compaction(len(names), len(_data_files(store)), rows)


def finish_compactions(store: Store) -> None:
    """Finishes or forgets what a killed compaction left. The caller holds the claim."""
    superseded = superseded_files(store)
    for file in store.list(COMPACTION_FOLDER):
        intent = f"{COMPACTION_FOLDER}/{file.name}"
        sources = json.loads(store.read_bytes(intent))["sources"]
        _clear(store, intent, [name for name in sources if name in superseded])


def _clear(store: Store, intent: str, sources: list[str]) -> None:
    for name in sources:
        store.delete(name)
    store.delete(intent)


def _data_files(store: Store) -> list[str]:
    return [f.name for f in store.list("") if f.name.endswith(".parquet") and not f.name.startswith(("_", "."))]


def _groups(store: Store, names: list[str], target_bytes: int) -> Iterator[list[str]]:
    """Runs of two and more small files that fit into one of `target_bytes`, alike in footer and schema."""
    sizes = {f.name: f.size for f in store.list("")}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        if sizes[name] < min(SMALL_BYTES, target_bytes):
            schema = pq.read_schema(store.path(name), filesystem=store.filesystem)
            footer = {k: v for k, v in (schema.metadata or {}).items() if k != b"ARROW:schema"}
            alike.setdefault((str(sorted(footer.items())), str(schema.remove_metadata())), []).append(name)
    for files in alike.values():
        group: list[str] = []
        held = 0
        for name in files:
            if group and held + sizes[name] > target_bytes:
                yield from [group] if len(group) > 1 else []
                group, held = [], 0
            group.append(name)
            held += sizes[name]
        yield from [group] if len(group) > 1 else []


def _merge(store: Store, sources: list[str], target: str) -> int:
    """Writes the rows of `sources` into `target`, visible at once; memory: a row group."""
    schema = pq.read_schema(store.path(sources[0]), filesystem=store.filesystem)
    expected = sum(pq.read_metadata(store.path(n), filesystem=store.filesystem).num_rows for n in sources)
    written = 0
    with store.writing(target) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in _row_groups(store, sources):
            writer.write_table(table)
            written += table.num_rows
        if written != expected:
            raise ClipfakeError(f"merging gave {written} rows of {expected}; nothing was changed")
    return written


def _row_groups(store: Store, sources: list[str]) -> Iterator[pa.Table]:
    """The rows of `sources` in tables of ROW_GROUP_ROWS and a little more, the last one smaller."""
    held: list[pa.RecordBatch] = []
    for name in sources:
        with pq.ParquetFile(store.path(name), filesystem=store.filesystem) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                held.append(batch)
                if sum(b.num_rows for b in held) >= ROW_GROUP_ROWS:
                    yield pa.Table.from_batches(held)
                    held = []
    if held:
        yield pa.Table.from_batches(held)
