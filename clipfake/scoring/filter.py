"""The flow `filter`: a corpus and its report -> the corpus without what a condition leaves out.

Each output file appears whole and once, named by the file it is made from: a killed run is gone on with by the same
command, and what is there already is not made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.corpus.manifest import list_corpus, manifest_rows, read_manifest
from clipfake.errors import ClipfakeError, UsageError, first_line
from clipfake.onray.connection import at_hand, connected
from clipfake.onray.tasks import map_tasks
from clipfake.options import refuse_idle
from clipfake.scoring.filtered_files import PARQUET, TAR, Container, filter_container, pack_files
from clipfake.scoring.filtered_list import is_list, write_list
from clipfake.scoring.options import MANIFEST, FilterOptions
from clipfake.storage import uri as uris
from clipfake.storage.claim import claimed
from clipfake.storage.ledger import SCAN
from clipfake.storage.reports import Rows, chosen_detector, detectors, latest, open_report, rows_of
from clipfake.storage.runs import new_run_id
from clipfake.storage.store import Store, check_apart, check_new, kind_of

log = logging.getLogger(__name__)

ABOUT = "_filter/about.json"
FILES_A_WAVE = 1_000  # whose items are in the driver's memory at a time
FEW_FILES = 8  # are copied in this process: Ray takes longer to start
PACK_FILES = 10_000  # of a folder of images go into one tar,
PACK_BYTES = 1 << 30  # or so many bytes


@dataclass
class FilterSummary:
    """Counts of items: listed = kept + dropped; without_row are among one of the two. files: written and found done."""

    listed: int = 0
    kept: int = 0
    dropped: int = 0
    without_row: int = 0
    files: int = 0
    already_done: int = 0

    def count(self, listed: int, kept: int, without_row: int) -> None:
        """Counts some more items."""
        self.listed += listed
        self.kept += kept
        self.dropped += listed - kept
        self.without_row += without_row


def filter_corpus(
    source: str, reports: str, out: str, options: FilterOptions, num_cpus: int | None = None
) -> FilterSummary:
    """Writes the items of `source` that the condition keeps into the folder `out`.

    Tars become tars and Parquet files Parquet files of the same names, with members and rows as they were and in order;
    other files are packed into tars. Where `out` is the name of a list, .txt, .parquet or .npy, it gets the ids of what
    stays. Raises UsageError, before anything is written, for a condition that DuckDB does
    not take, for a folder that another filter wrote, and where the report has rows of several detectors.
    """
    place, store, found = uris.place(source), Store(uris.place(out)), FilterSummary()
    check_apart(place, store.uri)
    with rows_of(open_report(reports).dataset()) as rows:
        chosen = chosen_detector(detectors(rows), options.detector, reports)
        listed = _decided(latest(rows, chosen), _listing(place, options), options)
        if is_list(out):
            kept, found.files = _kept(listed, found), 1
            if options.dry_run:
                for _ in kept:
                    pass
            else:
                write_list(kept, store.uri)
            return found
        if options.dry_run:
            for _ in _containers(listed, place, found):
                found.files += 1
            return found
        about = {"source": place, "report": uris.place(reports), "detector": chosen, **asdict(options)}
        _check_out(store, about)
        with claimed(store, new_run_id()) as claim:
            store.write_bytes(ABOUT, json.dumps(about, indent=1).encode())
            containers = _containers(listed, place, found)
            while wave := list(islice(containers, FILES_A_WAVE)):
                todo = [one for one in wave if not _is_done(store, one)]
                found.already_done += len(wave) - len(todo)
                for done in _copied(todo, store.uri, num_cpus):
                    claim.check()
                    store.write_bytes(_receipt(done), _digest(done).encode())
                    found.files += 1
                there = found.files + found.already_done
                log.info("%d files, %d of %d items kept", there, found.kept, found.listed)
    if found.kept + found.dropped != found.listed:
        raise ClipfakeError(f"counts do not reconcile: {found}; this is a bug")
    return found


def _listing(place: str, options: FilterOptions) -> pa.RecordBatchReader:
    kind = kind_of(place)
    if kind == "manifest":
        refuse_idle(options, kind, MANIFEST)
        return manifest_rows(place, read_manifest(place).scanner(**SCAN), options.listing)
    if kind is not None:
        raise UsageError(f"{uris.shown(place)} holds {kind}; filter takes a corpus or a manifest")
    return list_corpus(place, options.layout, options.listing)


def _decided(rows: Rows, listing: pa.RecordBatchReader, options: FilterOptions) -> pa.RecordBatchReader:
    """item_id, uri, member, size, `stays` and `without_row` of the listed items, in the listing's order."""
    try:
        rows.ask(f"SELECT ({options.keep})::BOOLEAN FROM $rows LIMIT 0")
    except duckdb.Error as error:
        raise UsageError(f"--keep is not a condition on the report's columns: {first_line(error)}") from None
    rows.ask(
        f"CREATE TEMP TABLE decided AS SELECT item_id, version, coalesce(({options.keep})::BOOLEAN, false) AS stays "
        "FROM $rows"
    )
    rows.register("listing", listing)
    return rows.stream(
        f"SELECT item_id, l.uri, l.member, l.size, coalesce(d.stays, {options.without_row == 'keep'}) AS stays, "
        "d.stays IS NULL AS without_row FROM listing l LEFT JOIN decided d USING (item_id, version)",
        SCAN["batch_size"],
    )


def _kept(listed: pa.RecordBatchReader, found: FilterSummary) -> Iterator[pa.Array]:
    """The item_ids of what stays, a batch at a time; `found` is counted on the way."""
    for batch in listed:
        kept = batch["item_id"].filter(batch["stays"])
        found.count(len(batch), len(kept), pc.sum(batch["without_row"]).as_py() or 0)
        yield kept


def _containers(listed: pa.RecordBatchReader, place: str, found: FilterSummary) -> Iterator[Container]:
    """The files with what stays of each, those without anything that stays left out; `found` is counted on the way."""
    packed: list[dict[str, Any]] = []
    bytes_held = number = 0

    def pack() -> Container:
        nonlocal number, bytes_held
        names = tuple(row["uri"] for row in packed)
        packed.clear()
        bytes_held, number = 0, number + 1
        return Container(place, f"{number - 1:06d}{TAR}", names, ())

    rows = (row for batch in listed for row in batch.to_pylist())
    for uri, items in groupby(rows, key=lambda row: row["uri"]):
        of_one = list(items)
        keep = [row for row in of_one if row["stays"]]
        found.count(len(of_one), len(keep), sum(row["without_row"] for row in of_one))
        if not keep:
            continue
        if keep[0]["member"] is None:
            packed += keep
            bytes_held += sum(row["size"] or 0 for row in keep)
            if len(packed) >= PACK_FILES or bytes_held >= PACK_BYTES:
                yield pack()
            continue
        if not _is_container(uri):
            raise UsageError(f"{uris.shown(uri)} is a video: filter takes images, `clipfake groups` judges videos")
        names = tuple(row["member"] for row in keep)
        drop = tuple(row["member"] for row in of_one if not row["stays"])
        yield Container(uri, _below(uri, place), names, drop)
    if packed:
        yield pack()


def _below(uri: str, place: str) -> str:
    """The path of a file below the corpus, decoded; the file's own name where it is the corpus."""
    relative = uri.removeprefix(place).strip("/") if uri != place else posixpath.basename(uri)
    return uris.shown(relative)


def _copied(todo: list[Container], out: str, num_cpus: int | None) -> Iterator[Container]:
    """Copies the files, on Ray where they are many or a cluster is there; gives each when it is visible."""
    if len(todo) <= FEW_FILES and not at_hand():
        for one in todo:
            _copy(one, out)
            yield one
        return
    with connected(num_cpus):
        for number, _ in map_tasks(_copy, todo, (out,), "copying failed: {}; run the same command to go on"):
            yield todo[number]


def _copy(container: Container, out: str) -> int:
    if _is_container(container.uri):
        return filter_container(container, out)
    return pack_files([(uri, _below(uri, container.uri)) for uri in container.keep], out, container.name)


def _is_container(uri: str) -> bool:
    return uri.lower().endswith((TAR, PARQUET))


def _receipt(container: Container) -> str:
    return f"_filter/{container.name}.done"


def _digest(container: Container) -> str:
    """What an output file was made of."""
    return hashlib.sha256(json.dumps(asdict(container)).encode()).hexdigest()


def _is_done(store: Store, container: Container) -> bool:
    receipt = _receipt(container)
    return store.exists(receipt) and store.read_bytes(receipt).decode() == _digest(container)


def _check_out(store: Store, about: dict[str, Any]) -> None:
    """Raises UsageError where the folder holds anything that this filter did not write."""
    if not store.exists(ABOUT):
        check_new(store, own=("_lock",))
    elif json.loads(store.read_bytes(ABOUT)) != json.loads(json.dumps(about)):
        raise UsageError(f"{uris.shown(store.uri)} was written by another filter (see {ABOUT}): choose another --out")
