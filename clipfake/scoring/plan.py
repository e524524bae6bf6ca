"""What is still to do: listed items less the committed ones, cut into units that commit on their own."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.status import Status
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.store import Check, Store, nothing_to_check
from clipfake.storage.units import Plan, UnitWriter, publish_plan


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
        # What is done is remembered by 16 bytes an item. A stranger who names files cannot make two names collide: the
        # salt is new for each plan. A collision by chance (1 in 10^20 at 10^9 items) would be gone the next night.
        self._salt = secrets.token_hex(16)
        self._broke: BaseException | None = None

    def write(
        self,
        run_id: str,
        listing: pa.RecordBatchReader,
        source: str,
        unit_rows: int,
        chunk_rows: int,
        *,
        read: Mapping[str, Any] | None = None,
        check: Check = nothing_to_check,
        dry: bool = False,
    ) -> Plan:
        """Writes the plan of one run and returns it; with `dry` only counts.

        read : how the items are to be read, which the plan keeps
        check : called before the plan counts; raises where the claim was lost while it was made

        Raises UsageError where the listing names one item twice, and whatever the listing itself raises.
        """
        store = self.ledger.store
        saves = self.saves.store.uri if self.saves else None
        with self._database() as database:
            database.register("listing", self._counted(listing))
            inserts = database.cursor()
            try:
                batches = database.sql(self._query()).to_arrow_reader(SCAN["batch_size"])
                writer = UnitWriter(
                    store, run_id, batches.schema, unit_rows, chunk_rows, dry=dry, reads_images=source == "images"
                )
                inserts.register("nothing", batches.schema.empty_table())
                inserts.execute("CREATE TABLE retries AS SELECT * FROM nothing")
                for batch in batches:
                    again = batch["rewrites"].is_valid()
                    self._sort_out(inserts, batch.filter(again), batch.filter(pc.invert(again)), writer)
            except Exception:  # DuckDB's, or PyArrow's where it is met in the stream of the answer
                if self._broke is not None:  # what the listing raised, as it was
                    raise self._broke from None
                raise
            writer.close()
            new_units = len(writer.units)
            # The rows of one report file come together: the file is rewritten once a unit and not once a row.
            for batch in inserts.sql("SELECT * FROM retries ORDER BY rewrites").to_arrow_reader(chunk_rows):
                writer.add(batch)
            writer.close()
            self._check(inserts)
        plan = Plan(run_id, source, saves, tuple(writer.units), read)
        if plan.units and not dry:
            publish_plan(store, plan, self.ledger.key, new_units, asdict(self.counts), check)
        return plan

    @contextlib.contextmanager
    def _database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB with the table `done` and, where embeddings are saved, `saved`; it spills what exceeds its memory."""
        with temporary_database() as database:
            # The listing streams past tables of what is done; never the other way round, it may be far larger.
            database.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            database.execute("CREATE TABLE fresh (item_id VARCHAR, version VARCHAR)")
            database.execute(
                f"CREATE MACRO key_of(item_id, version) AS md5_number('{self._salt}' || item_id || chr(0) || version)"
            )
            database.register("committed", committed_rows(self.ledger))
            database.register("planned", _planned(self.ledger.store, self.still_open))
            database.execute(
                """CREATE TABLE done AS
                   SELECT key_of(item_id, version) AS key, hash(item_id) AS item,
                       CASE WHEN list_contains($retry, status) THEN file END AS file FROM committed
                   UNION ALL SELECT key_of(item_id, version), hash(item_id), NULL FROM planned""",
                {"retry": self.retryable},
            )
            if self.saves is not None:
                database.register("kept", committed_rows(self.saves))
                # '' : its embedding is there already; a file's name: that file holds an error row to replace
                database.execute(
                    """CREATE TABLE saved AS
                       SELECT key_of(item_id, version) AS key, CASE status WHEN 'ok' THEN '' ELSE file END AS file
                       FROM kept"""
                )
            yield database

    def _query(self) -> str:
        """The listing's rows that are to do, with `rewrites`, the report file that holds their error, and `saved`."""
        saved, join = "NULL::VARCHAR", ""
        if self.saves is not None:
            saved, join = "s.file", "LEFT JOIN saved s ON m.key = s.key"
        return f"""
            SELECT m.* EXCLUDE (key), f.file AS rewrites, {saved} AS saved
            FROM (SELECT *, key_of(item_id, version) AS key FROM listing) m
            ANTI JOIN (SELECT key FROM done WHERE file IS NULL) d ON m.key = d.key
            LEFT JOIN (SELECT key, file FROM done WHERE file IS NOT NULL) f ON m.key = f.key {join}"""

    def _sort_out(
        self, inserts: duckdb.DuckDBPyConnection, again: pa.RecordBatch, fresh: pa.RecordBatch, writer: "UnitWriter"
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
        changed = "SELECT count(DISTINCT item) FROM done WHERE item IN (SELECT hash(item_id) FROM fresh)"
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


def committed_rows(ledger: Ledger) -> pa.RecordBatchReader:
    """item_id, version, status, file of what the ledger has for its key: an item's views are there together or not."""
    schema = pa.schema([(name, pa.string()) for name in ("item_id", "version", "status", "file")])
    only = pc.field("detector") == ledger.key if ledger.kind == "report" else pc.field("view") == 0

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
