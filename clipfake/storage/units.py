"""Units on disk: the item lists of what is still open, as files that a person can `ls`."""

import json
import logging
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store

log = logging.getLogger(__name__)

PLAN_FOLDER = "_plan"


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
    """The open units of one run's planning, and how they are to be worked off."""

    run_id: str
    source: str  # "images" or "embeddings"
    saves: str | None  # the folder that also gets the embeddings
    units: tuple[Unit, ...]

    @property
    def items(self) -> int:
        """Items in its open units."""
        return sum(unit.rows for unit in self.units)


class UnitWriter:
    """Cuts a stream of rows into unit files of `unit_rows` rows in row groups of `chunk_rows`."""

    def __init__(
        self, store: Store, plan: str, schema: pa.Schema, unit_rows: int, chunk_rows: int, *, dry: bool
    ) -> None:
        self.units: list[Unit] = []
        self._store, self._plan, self._schema, self._dry = store, plan, schema, dry
        self._unit_rows, self._chunk_rows = unit_rows, chunk_rows
        self._rows: list[pa.RecordBatch] = []
        self._held = 0

    def add(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            part = batch.slice(0, self._unit_rows - self._held)
            self._rows.append(part)
            self._held += part.num_rows
            batch = batch.slice(part.num_rows)
            if self._held == self._unit_rows:
                self.close()

    def close(self) -> None:
        """Ends the unit that is being filled."""
        if not self._held:
            return
        full, rest = divmod(self._held, self._chunk_rows)
        unit = Unit(self._plan, len(self.units), (self._chunk_rows,) * full + ((rest,) if rest else ()))
        if not self._dry:
            table = pa.Table.from_batches(self._rows, self._schema)
            with self._store.writing(unit.path) as sink:
                pq.write_table(table, sink, row_group_size=self._chunk_rows, compression="zstd")
        self.units.append(unit)
        self._rows, self._held = [], 0


def open_plans(ledger: Ledger, *, clear: bool = True) -> list[Plan]:
    """The plans of earlier runs with open units for this ledger's key; `clear` forgets what is committed or cut off.

    A unit whose report file is there is done: the run died between the commit and the deletion of its list.
    """
    store = ledger.store
    committed = set(ledger.files())
    plans = []
    for run_id in store.folders(PLAN_FOLDER):
        folder = f"{PLAN_FOLDER}/{run_id}"
        if not store.exists(f"{folder}/plan.json"):
            if clear:
                log.info("clearing a plan that was never finished: %s", run_id)
                store.delete_tree(folder)
            continue
        about = json.loads(store.read_bytes(f"{folder}/plan.json"))
        units = []
        for file in store.list(folder):
            if not file.name.endswith(".items"):
                continue
            unit = _read_unit(store, run_id, int(file.name.removesuffix(".items")))
            if unit.name not in committed:
                units.append(unit)
            elif clear:
                store.delete(unit.path)
        if not units:
            if clear:
                store.delete_tree(folder)
        elif about["key"] == ledger.key:
            plans.append(Plan(run_id, about["source"], about["saves"], tuple(units)))
        else:
            log.warning(
                "%d units of run %s for another detector stay open; score with it to finish them", len(units), run_id
            )
    return plans


def close_unit(store: Store, unit: Unit) -> None:
    """Forgets a committed unit."""
    store.delete(unit.path)


def close_plan(store: Store, plan: Plan) -> None:
    """Forgets a plan without open units."""
    store.delete_tree(f"{PLAN_FOLDER}/{plan.run_id}")


def _read_unit(store: Store, plan: str, number: int) -> Unit:
    path = Unit(plan, number, ()).path
    with pq.ParquetFile(store.path(path), filesystem=store.filesystem) as file:
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    return Unit(plan, number, tuple(rows))
