"""Units on disk: the item lists of what is still open, as files that a person can `ls`."""

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake import __version__
from clipfake.errors import ClaimLostError, UsageError
from clipfake.storage.committed import known_files
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Check, Store, nothing_to_check

log = logging.getLogger(__name__)

PLAN_FOLDER = "_plan"
FORMAT = 2  # of plan.json; 1, which does not say so, is version 0.1.0's
CHUNK_BYTES = 256 << 20  # of images in a chunk, by their listed sizes; one that is larger is a chunk of its own
FOOTERS = 16  # of item lists that are read side by side
ITEM_BYTES = 1 << 20  # of images in a unit, for each row that it may have: where images are large it has fewer
UNKNOWN_BYTES = 256 << 10  # what an item counts that was listed without a size (rows of Parquet)


@dataclass(frozen=True)
class Unit:
    """A bounded piece of work that commits on its own.

    Its items lie in `_plan/<plan>/<number>.items`, Parquet by another name, since DuckDB's globs read whatever is
    called .parquet; each row group is one chunk of the pipeline. The file goes once the unit is committed.
    """

    plan: str
    number: int
    chunks: tuple[int, ...]  # rows of each row group

    @property
    def rows(self) -> int:
        """Items in the unit."""
        return sum(self.chunks)

    @property
    def name(self) -> str:
        """The report or embedding file that the unit's new rows become."""
        return f"{self.plan}-{self.number:06d}.parquet"

    @property
    def path(self) -> str:
        """The unit's item list below the ledger's folder."""
        return f"{PLAN_FOLDER}/{self.plan}/{self.number:06d}.items"


@dataclass(frozen=True)
class Plan:
    """The open units of one run's planning, and how they are to be worked off.

    read : how the items are read, as the run that made the plan was told; None in a plan of version 0.1.0
    lost : numbers of units whose item lists are gone although nothing of them is committed
    """

    run_id: str
    source: str  # "images" or "embeddings"
    saves: str | None  # the folder that also gets the embeddings
    units: tuple[Unit, ...]
    read: Mapping[str, Any] | None = None
    lost: tuple[int, ...] = ()

    @property
    def items(self) -> int:
        """Items in its open units."""
        return sum(unit.rows for unit in self.units)


def plan_name(run_id: str, number: int) -> str:
    """The name of a run's plan of that number, from 0."""
    return f"{run_id}-p{number:05d}" if number else run_id


class UnitWriter:
    """Cuts a stream of rows into unit files of at most `unit_rows` rows in row groups of at most `chunk_rows`.

    reads_images : row groups hold at most CHUNK_BYTES too, and units ITEM_BYTES for each of the rows they may have
    """

    def __init__(
        self,
        store: Store,
        plan: str,
        schema: pa.Schema,
        unit_rows: int,
        chunk_rows: int,
        *,
        dry: bool,
        reads_images: bool = False,
    ) -> None:
        self.plan, self.units, self.items = plan, list[Unit](), 0  # items : that were added
        self._store, self._schema, self._dry = store, schema, dry
        self._unit_rows, self._chunk_rows = unit_rows, chunk_rows
        self._reads_images = reads_images
        self._rows: list[pa.Table] = []
        self._held = self._bytes = 0

    def add(self, rows: pa.Table) -> None:
        self.items += rows.num_rows
        while rows.num_rows:
            part = rows.slice(0, self._unit_rows - self._held)
            most = self._unit_rows * ITEM_BYTES - self._bytes
            ends = np.cumsum(self._sizes(part))
            fitting = int(np.searchsorted(ends, most, side="right"))
            part = part.slice(0, max(fitting, 0 if self._held else 1))
            if part.num_rows:
                self._rows.append(part)
                self._held += part.num_rows
                self._bytes += int(ends[part.num_rows - 1])
                rows = rows.slice(part.num_rows)
            if self._held == self._unit_rows or fitting < len(ends):
                self.close()

    def _sizes(self, rows: pa.Table) -> np.ndarray:
        """Bytes of each, as listed; none where no image is read."""
        if not self._reads_images:
            return np.zeros(rows.num_rows, np.int64)
        return pc.fill_null(rows["size"], UNKNOWN_BYTES).to_numpy()

    def close(self) -> None:
        """Ends the unit that is being filled."""
        if not self._held:
            return
        table = pa.concat_tables(self._rows).cast(self._schema)
        chunks = chunk_lengths(self._sizes(table), self._chunk_rows, CHUNK_BYTES)
        unit = Unit(self.plan, len(self.units), chunks)
        if not self._dry:
            with (
                self._store.writing(unit.path) as sink,
                pq.ParquetWriter(sink, self._schema, compression="zstd") as out,
            ):
                for end, length in zip(np.cumsum(chunks).tolist(), chunks, strict=True):
                    out.write_table(table.slice(end - length, length), row_group_size=length)
        self.units.append(unit)
        self._rows, self._held, self._bytes = [], 0, 0


def publish_plan(
    store: Store, plan: Plan, key: str, new_units: int, found: Mapping[str, int], check: Check = nothing_to_check
) -> None:
    """Writes `plan.json`, from which moment on the plan counts: one that was cut off while it was written is nothing.

    new_units : how many units, from the first on, leave a file of their name when they are committed
    check : raises where the claim is lost

    Raises ClaimLostError where item lists are gone: another run took the plan for one of a dead run.
    """
    folder = f"{PLAN_FOLDER}/{plan.run_id}"
    there = sum(file.name.endswith(".items") for file in store.list(folder))
    if there != len(plan.units):
        raise ClaimLostError(
            f"{len(plan.units) - there} of this run's {len(plan.units)} units were deleted from {store.uri}/{folder}: "
            "another run took over; run it again"
        )
    about = {
        "format": FORMAT,
        "version": __version__,
        "source": plan.source,
        "read": plan.read,
        "saves": plan.saves,
        "key": key,
        "units": len(plan.units),
        "new_units": new_units,
        "found": found,
    }
    check()
    store.write_bytes(f"{folder}/plan.json", json.dumps(about, indent=1).encode())


def chunk_lengths(sizes: np.ndarray, most_rows: int, most_bytes: int) -> tuple[int, ...]:
    """How many rows each chunk takes: at most `most_rows`, and `most_bytes` unless one row alone has more.

    >>> chunk_lengths(np.array([1, 1, 1, 9, 1]), 2, 5)
    (2, 1, 1, 1)
    """
    ends, lengths, at = np.cumsum(sizes), [], 0
    while at < len(sizes):
        before = ends[at - 1] if at else 0
        fitting = int(np.searchsorted(ends, before + most_bytes, side="right")) - at
        lengths.append(min(max(1, fitting), most_rows, len(sizes) - at))
        at += lengths[-1]
    return tuple(lengths)


def open_plans(ledger: Ledger, *, clear: bool = True, check: Check = nothing_to_check) -> list[Plan]:
    """The plans of earlier runs with open units for this ledger's key; `clear` forgets what is committed or cut off.

    check : called before anything is forgotten; raises where the claim is lost: what looks cut off may be under way

    A unit whose report file is there is done: the run died between the commit and the deletion of its list.
    Raises UsageError where a newer version of clipfake has made a plan.
    """
    store = ledger.store
    committed = known_files(store)
    plans = []
    for run_id in store.folders(PLAN_FOLDER):
        folder = f"{PLAN_FOLDER}/{run_id}"
        if not store.exists(f"{folder}/plan.json"):
            if clear:
                log.info("clearing a plan that was never finished: %s", run_id)
                check()
                store.delete_tree(folder)
            continue
        about = json.loads(store.read_bytes(f"{folder}/plan.json"))
        if about.get("format", 1) > FORMAT:
            raise UsageError(
                f"{store.uri}/{folder} was made by clipfake {about['version']}, which is newer: use that or a newer one"
            )
        units, lost = open_units(store, run_id, about, committed, clear=clear)
        if not units and not lost:
            if clear:
                check()
                store.delete_tree(folder)
        elif about["key"] == ledger.key:
            plans.append(Plan(run_id, about["source"], about["saves"], tuple(units), about.get("read"), tuple(lost)))
        else:
            log.warning(
                "%d units of run %s for another detector stay open; score with it to finish them", len(units), run_id
            )
    return plans


def open_units(
    store: Store, run_id: str, about: Mapping[str, Any], committed: set[str], *, clear: bool
) -> tuple[list[Unit], list[int]]:
    """The units of a plan that are open, and the numbers of those that are gone without a trace.

    about : what plan.json says; clear : whether the lists of committed units are deleted
    """
    files = [file.name for file in store.list(f"{PLAN_FOLDER}/{run_id}") if file.name.endswith(".items")]
    numbers = [int(name.removesuffix(".items")) for name in files]
    left = [number for number in numbers if Unit(run_id, number, ()).name not in committed]
    for number in set(numbers) - set(left) if clear else ():
        store.delete(Unit(run_id, number, ()).path)
    with ThreadPoolExecutor(FOOTERS) as pool:
        units = list(pool.map(partial(_read_unit, store, run_id), left))
    gone = set(range(about.get("new_units", 0))) - set(numbers) - set(about.get("dropped", ()))
    return units, sorted(number for number in gone if Unit(run_id, number, ()).name not in committed)


def rewrite_unit(store: Store, unit: Unit, items: pa.Table, check: Check) -> Unit | None:
    """Replaces the items of an open unit; None where none are left, and the unit is closed without a file."""
    if items.num_rows:
        with store.writing(unit.path, check) as sink:
            pq.write_table(items, sink, row_group_size=max(unit.chunks), compression="zstd")
        return _read_unit(store, unit.plan, unit.number)
    path = f"{PLAN_FOLDER}/{unit.plan}/plan.json"
    about = json.loads(store.read_bytes(path))
    about["dropped"] = [*about.get("dropped", ()), unit.number]
    check()
    store.write_bytes(path, json.dumps(about, indent=1).encode())
    close_unit(store, unit)
    return None


def close_unit(store: Store, unit: Unit) -> None:
    """Forgets a committed unit."""
    store.delete(unit.path)


def run_of(plan: str) -> str:
    """The run that made the plan of this name: of a listing that goes on for long it makes several."""
    return plan.partition("-p")[0]


def close_plan(store: Store, plan: Plan) -> None:
    """Forgets a plan without open units."""
    store.delete_tree(f"{PLAN_FOLDER}/{plan.run_id}")


def _read_unit(store: Store, plan: str, number: int) -> Unit:
    path = Unit(plan, number, ()).path
    with pq.ParquetFile(store.path(path), filesystem=store.filesystem) as file:
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    return Unit(plan, number, tuple(rows))
