"""What is still to do: listed items less the committed ones, cut into units that commit on their own."""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.corpus.store import Store
from clipfake.engine.ledger import Ledger
from clipfake.errors import UsageError
from clipfake.status import Status

log = logging.getLogger(__name__)

PLAN_FOLDER = "_plan"
PLANNER_MEMORY = "512MB"  # of DuckDB's; what does not fit is spilled to disk
SCAN = {"batch_size": 32_768, "batch_readahead": 2, "fragment_readahead": 1}  # bounds what pyarrow reads ahead


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


@dataclass
class Counts:
    """What planning found: listed = done + new + retried; done includes what open units hold, new what changed."""

    listed: int = 0
    done: int = 0
    new: int = 0
    changed: int = 0
    retried: int = 0
    bytes_to_read: int = 0


class Planner:
    """Finds what of a listing is to do for a ledger, in memory that does not grow with either.

    ledger : the folder that the rows go to
    still_open : the plans of earlier runs, whose items are not planned again
    saves : the ledger of embeddings that the same pass fills, if any
    retry_errors : also try the errors again that are permanent
    """

    def __init__(
        self, ledger: Ledger, still_open: list[Plan], saves: Ledger | None = None, *, retry_errors: bool = False
    ) -> None:
        self.ledger = ledger
        self.still_open = still_open
        self.saves = saves
        self.retryable = [s.value for s in Status if s.may_pass or (retry_errors and s is not Status.OK)]
        self.counts = Counts()
        self._broke: BaseException | None = None

    def write(
        self,
        run_id: str,
        listing: pa.RecordBatchReader,
        source: str,
        unit_rows: int,
        chunk_rows: int,
        *,
        dry: bool = False,
    ) -> Plan:
        """Writes the plan of one run and returns it; with `dry` only counts.

        The plan counts from the moment `plan.json` is there: one that was cut off while it was written is nothing.
        Raises UsageError where the listing names one item twice, and whatever the listing itself raises.
        """
        store = self.ledger.store
        saves = self.saves.store.uri if self.saves else None
        with tempfile.TemporaryDirectory(prefix="clipfake-plan-") as spill, self._database(spill) as database:
            database.register("listing", self._counted(listing))
            inserts = database.cursor()
            try:
                batches = database.sql(self._query()).to_arrow_reader(SCAN["batch_size"])
                writer = _UnitWriter(store, run_id, batches.schema, unit_rows, chunk_rows, dry=dry)
                inserts.register("nothing", batches.schema.empty_table())
                inserts.execute("CREATE TABLE retries AS SELECT * FROM nothing")
                for batch in batches:
                    again = batch["rewrites"].is_valid()
                    self._sort_out(inserts, batch.filter(again), batch.filter(pc.invert(again)), writer)
            except duckdb.Error:
                if self._broke is not None:  # what the listing raised, as it was
                    raise self._broke from None
                raise
            writer.close()
            # The rows of one report file come together: the file is rewritten once a unit and not once a row.
            for batch in inserts.sql("SELECT * FROM retries ORDER BY rewrites").to_arrow_reader(chunk_rows):
                writer.add(batch)
            writer.close()
            self._check(inserts)
        if writer.units and not dry:
            facts = {"source": source, "saves": saves, "key": self.ledger.key, "units": len(writer.units)}
            about = json.dumps({**facts, "found": asdict(self.counts)}, indent=1)
            store.write_bytes(f"{PLAN_FOLDER}/{run_id}/plan.json", about.encode())
        return Plan(run_id, source, saves, tuple(writer.units))

    @contextlib.contextmanager
    def _database(self, spill: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB with the table `done` and, where embeddings are saved, `saved`; it spills what exceeds its memory."""
        settings: dict[str, Any] = {
            "memory_limit": PLANNER_MEMORY,
            "temp_directory": spill,
            "preserve_insertion_order": "true",
        }
        with duckdb.connect(f"{spill}/plan.duckdb", config=settings) as database:
            # The listing streams past tables of what is done; never the other way round, it may be far larger.
            database.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            database.execute("CREATE TABLE fresh (item_id VARCHAR, version VARCHAR)")
            database.register("committed", _committed(self.ledger))
            database.register("planned", _planned(self.ledger.store, self.still_open))
            database.execute(
                """CREATE TABLE done AS
                   SELECT item_id, version, CASE WHEN list_contains($retry, status) THEN file END AS file FROM committed
                   UNION ALL SELECT item_id, version, NULL FROM planned""",
                {"retry": self.retryable},
            )
            if self.saves is not None:
                database.register("kept", _committed(self.saves))
                # '' : its embedding is there already; a file's name: that file holds an error row to replace
                database.execute(
                    """CREATE TABLE saved AS
                       SELECT item_id, version, CASE status WHEN 'ok' THEN '' ELSE file END AS file FROM kept"""
                )
            yield database

    def _query(self) -> str:
        """The listing's rows that are to do, with `rewrites`, the report file that holds their error, and `saved`."""
        saved, join = "NULL::VARCHAR", ""
        if self.saves is not None:
            saved, join = "s.file", "LEFT JOIN saved s ON m.item_id = s.item_id AND m.version = s.version"
        return f"""
            SELECT m.*, d.file AS rewrites, {saved} AS saved
            FROM listing m LEFT JOIN done d ON m.item_id = d.item_id AND m.version = d.version {join}
            WHERE d.item_id IS NULL OR d.file IS NOT NULL"""

    def _sort_out(
        self, inserts: duckdb.DuckDBPyConnection, again: pa.RecordBatch, fresh: pa.RecordBatch, writer: "_UnitWriter"
    ) -> None:
        self.counts.retried += again.num_rows
        self.counts.new += fresh.num_rows
        for batch in (again, fresh):
            self.counts.bytes_to_read += pc.sum(batch["size"]).as_py() or 0
        if again.num_rows:
            inserts.register("rows", again)
            inserts.execute("INSERT INTO retries SELECT * FROM rows")
        if fresh.num_rows:
            inserts.register("rows", fresh.select(["item_id", "version"]))
            inserts.execute("INSERT INTO fresh SELECT * FROM rows")
            writer.add(fresh)

    def _check(self, database: duckdb.DuckDBPyConnection) -> None:
        """Completes the counts; raises UsageError where the listing names one item twice."""
        twice = "SELECT item_id FROM fresh GROUP BY item_id, version HAVING count(*) > 1 LIMIT 1"
        for (item,) in database.sql(twice).fetchall():
            raise UsageError(f"the input lists {item} twice; every item must be listed once")
        changed = "SELECT count(DISTINCT item_id) FROM done WHERE item_id IN (SELECT item_id FROM fresh)"
        ((self.counts.changed,),) = database.sql(changed).fetchall()
        self.counts.done = self.counts.listed - self.counts.new - self.counts.retried

    def _counted(self, listing: pa.RecordBatchReader) -> pa.RecordBatchReader:
        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for batch in listing:
                    self.counts.listed += batch.num_rows
                    yield batch
            except BaseException as error:
                self._broke = error
                raise

        return pa.RecordBatchReader.from_batches(listing.schema, batches())


class _UnitWriter:
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


def _committed(ledger: Ledger) -> pa.RecordBatchReader:
    """item_id, version, status, file of the ledger's rows for its key."""
    schema = pa.schema([(name, pa.string()) for name in ("item_id", "version", "status", "file")])
    only = pc.field("detector") == ledger.key if "detector" in ledger.schema.names else None

    def batches() -> Iterator[pa.RecordBatch]:
        for fragment in ledger.dataset().get_fragments():
            name = fragment.path.rpartition("/")[2]
            for batch in fragment.scanner(ledger.schema, columns=schema.names[:3], filter=only, **SCAN).to_batches():
                file = pa.repeat(pa.scalar(name), batch.num_rows)
                yield pa.RecordBatch.from_arrays([*batch.columns, file], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _planned(store: Store, plans: list[Plan]) -> pa.RecordBatchReader:
    """item_id and version of the items in open units."""
    columns = ["item_id", "version"]

    def batches() -> Iterator[pa.RecordBatch]:
        for unit in (unit for plan in plans for unit in plan.units):
            with pq.ParquetFile(store.path(unit.path), filesystem=store.filesystem) as items:
                yield from items.iter_batches(columns=columns)

    return pa.RecordBatchReader.from_batches(pa.schema([(c, pa.string()) for c in columns]), batches())
