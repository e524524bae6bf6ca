"""What is still to do: listed items less those that are known, cut into units that commit on their own."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.errors import UsageError
from clipfake.scoring.known import APART, KnownPart, committed_parts, part_rows, planned_parts
from clipfake.status import Status
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Check, nothing_to_check
from clipfake.storage.units import Plan, UnitWriter, plan_name, publish_plan

PIECE_ROWS = (16_384, 524_288)  # of the listing that are joined at a time: the first pieces are small
PIECE_S = 2.0  # after which a piece is joined though it is small


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
    """Finds what of a listing is to do for a ledger, in memory that does not grow with either, in the listing's order.

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
        self.ended_at: float | None = None  # when all was listed and planned, as time.monotonic() says

    def write(
        self, run_id: str, listing: pa.RecordBatchReader, source: str, unit_rows: int, chunk_rows: int, **how: Any
    ) -> Plan:
        """The plan of one run, in one: see `plans`."""
        (plan,) = self.plans(run_id, listing, source, unit_rows, chunk_rows, **how)
        return plan

    def plans(
        self, run_id: str, listing: pa.RecordBatchReader, source: str, unit_rows: int, chunk_rows: int, *,
        read: Mapping[str, Any] | None = None, check: Check = nothing_to_check, dry: bool = False,
        wanted: Callable[[int], bool] = lambda items: False,
    ) -> Iterator[Plan]:  # fmt: skip
        """Writes the plans of one run while its listing goes on, and gives each when it counts; with `dry` only counts.

        read : how the items are to be read, which a plan keeps
        check : called before a plan counts; raises where the claim was lost while it was made
        wanted : whether so many items are to be a plan now, although the listing goes on. Each plan stands for itself:
            what is killed leaves whole ones and one that is nothing; the next listing finds what is in none of them.

        What rewrites files comes last: nothing that is read here changes before the listing has ended. Raises
        UsageError where the listing names one item twice, and whatever the listing itself raises.
        """
        reads_images, saves = source == "images", self.saves.store.uri if self.saves else None

        def begun(number: int) -> UnitWriter:
            name = plan_name(run_id, number)
            return UnitWriter(
                self.ledger.store, name, schema, unit_rows, chunk_rows, dry=dry, reads_images=reads_images
            )

        def ended(new_units: int) -> Plan:
            plan = Plan(writer.plan, source, saves, tuple(writer.units), read)
            if plan.units and not dry:
                publish_plan(self.ledger.store, plan, self.ledger.key, new_units, asdict(self.counts), check)
            return plan

        schema = pa.schema([*listing.schema, ("rewrites", pa.string()), ("saved", pa.string())])
        with temporary_database() as database:
            join = _Join(self, database)
            number, writer = 0, begun(0)
            for piece in _pieces(listing):
                writer.add(join.to_do(piece).select(schema.names))
                if wanted(writer.items):
                    writer.close()
                    yield ended(len(writer.units))
                    number, writer = number + 1, begun(number + 1)
            writer.close()
            # The rows of one file come together: the file is rewritten once a unit and not once a row.
            for rows in join.postponed("rewrites IS NULL ORDER BY saved", chunk_rows):
                writer.add(rows)
            writer.close()
            new_units = len(writer.units)
            for rows in join.postponed("rewrites IS NOT NULL ORDER BY rewrites", chunk_rows):
                writer.add(rows)
            writer.close()
        last = ended(new_units)
        self.ended_at = time.monotonic()
        yield last


class _Join:
    """A listing, piece by piece, against what is known of it: in DuckDB, which spills what exceeds its memory.

    A known item is remembered by 28 bytes. A stranger who names files cannot make two names collide: the salt is new
    for each run. A collision by chance (1 in 10^20 at 10^9 items) would be gone the next night.
    """

    def __init__(self, planner: Planner, database: duckdb.DuckDBPyConnection) -> None:
        self._database, self._counts = database, planner.counts
        salt, ledger, saves = secrets.token_hex(16), planner.ledger, planner.saves
        # A piece is what is looked up, never what it is looked up in: that may be far larger.
        database.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        database.execute(
            f"CREATE MACRO key_of(item_id, version) AS md5_number('{salt}' || item_id || chr(0) || version)"
        )
        retry = ", ".join(f"'{status}'" for status in planner.retryable)
        open_parts = planned_parts(ledger, planner.still_open)
        # file : null where the item is done; else the file that holds its error
        self._done = _Known(database, "done", ledger, [*committed_parts(ledger), *open_parts],
                            f"CASE WHEN status IN ({retry}) THEN file END")  # fmt: skip
        # '' : its embedding is there already; a file's name: that file holds an error row to replace
        self._saved = None
        if saves is not None:
            file = "CASE status WHEN 'ok' THEN '' ELSE file END"
            self._saved = _Known(database, "saved", saves, committed_parts(saves), file)
        self._todo = _Known(database, "todo", ledger, [], "NULL")

    def to_do(self, piece: pa.Table) -> pa.Table:
        """The rows of a piece that are to do and rewrite no file, with `rewrites` and `saved`; counts all of them."""
        database, counts, rows = self._database, self._counts, piece.num_rows
        names = piece["item_id"]
        near = (pc.min(names).as_py(), pc.max(names).as_py())
        database.register("piece", piece.select(["item_id", "version"]).append_column("row", pa.array(np.arange(rows))))
        database.execute(
            """CREATE OR REPLACE TEMP TABLE asked AS
               SELECT row, hash(item_id) AS item, key_of(item_id, version) AS key FROM piece"""
        )
        known, file = self._done.found(near)
        others = self._done.versions
        stays = np.ones(rows, bool)
        stays[known[pc.is_null(file).to_numpy(zero_copy_only=False)]] = False
        rewrites = np.full(rows, None, object)
        rewrites[known] = file.to_numpy(zero_copy_only=False)
        saved = np.full(rows, None, object)
        if self._saved is not None:
            at, kept = self._saved.found(near)
            saved[at] = kept.to_numpy(zero_copy_only=False)
        piece = piece.append_column("rewrites", pa.array(rewrites, pa.string()))
        piece = piece.append_column("saved", pa.array(saved, pa.string()))
        self._check_once(piece, stays, near)
        again = rewrites[stays] != None  # noqa: E711 - elementwise
        counts.listed += rows
        counts.retried += int(again.sum())
        counts.new += int(stays.sum() - again.sum())
        counts.done += int(rows - stays.sum())
        counts.changed += int(np.isin(others, np.flatnonzero(stays)[~again]).sum())
        left = piece.filter(pa.array(stays))
        counts.bytes_to_read += pc.sum(left["size"]).as_py() or 0
        later = again | np.array([bool(name) for name in saved[stays]], bool)
        self._postpone(left.filter(pa.array(later)))
        return left.filter(pa.array(~later))

    def _postpone(self, rows: pa.Table) -> None:
        self._database.register("later", rows)
        self._database.execute("CREATE TABLE IF NOT EXISTS postponed AS SELECT * FROM later LIMIT 0")
        self._database.execute("INSERT INTO postponed SELECT * FROM later")

    def postponed(self, where: str, rows: int) -> Iterator[pa.Table]:
        """The rows that rewrite files, so many at a time."""
        if self._counts.listed:
            found = self._database.sql(f"SELECT * FROM postponed WHERE {where}").to_arrow_reader(rows)
            yield from (pa.Table.from_batches([batch]) for batch in found)

    def _check_once(self, piece: pa.Table, stays: np.ndarray, near: tuple[str, str]) -> None:
        """Raises UsageError where the listing names one item twice that is to do."""
        self._database.register("stays", pa.table({"row": np.flatnonzero(stays)}))
        self._database.execute("CREATE OR REPLACE TEMP TABLE asked AS SELECT * FROM asked SEMI JOIN stays USING (row)")
        found = self._todo.found(near)[0].tolist()
        within = "SELECT max(row) FROM asked GROUP BY key HAVING count(*) > 1 LIMIT 1"
        for row in found or [row for (row,) in self._database.execute(within).fetchall()]:
            raise UsageError(f"the input lists {piece['item_id'][row]} twice; every item must be listed once")
        self._todo.add(near)


class _Known:
    """Items in a table of DuckDB, to which parts come when somebody asks for their range.

    versions : the rows of what was asked for last, of which it knows another version
    """

    def __init__(
        self, database: duckdb.DuckDBPyConnection, name: str, ledger: Ledger, parts: list[KnownPart], file: str
    ):
        self._database, self._name, self._ledger, self._file = database, name, ledger, file
        self._unread, self._read = parts, list[KnownPart]()  # the number of one that was read is its place
        self.versions = np.zeros(0, np.int64)
        database.execute(f"CREATE TABLE {name} (part INTEGER, item UBIGINT, key UHUGEINT, file VARCHAR)")

    def add(self, names: tuple[str, str]) -> None:
        """What is `asked`, which lies between these two names, becomes a part."""
        self._database.execute(f"INSERT INTO {self._name} SELECT {len(self._read)}, item, key, NULL FROM asked")
        self._read.append(KnownPart("", 0, names, None))

    def found(self, names: tuple[str, str]) -> tuple[np.ndarray, pa.Array]:
        """The rows of `asked`, which lie between these two names, that it knows, and their `file`; null comes last."""
        self._come(names)
        looks = [
            f"SELECT item, key, file FROM {self._name} WHERE part BETWEEN {first} AND {last}"
            for first, last in _runs([number for number, part in enumerate(self._read) if part.near(*names)])
        ]
        if not looks:
            self.versions = np.zeros(0, np.int64)
            return np.zeros(0, np.int64), pa.array([], pa.string())
        found = self._database.sql(
            f"""SELECT row, same, file FROM (SELECT a.row AS row, a.key = k.key AS same, k.file AS file
                FROM ({" UNION ALL ".join(looks)}) k JOIN asked a ON k.item = a.item) ORDER BY file NULLS LAST"""
        ).to_arrow_table()
        rows, same = found["row"].to_numpy(), found["same"].to_numpy()
        self.versions = np.unique(rows[~same])
        return rows[same], found["file"].combine_chunks().filter(pa.array(same))

    def _come(self, names: tuple[str, str]) -> None:
        """Reads the parts that are near and were not read yet."""
        near = [part for part in self._unread if part.near(*names)]
        if near:
            self._database.register("given", part_rows(self._ledger, enumerate(near, len(self._read))))
            self._database.execute(
                f"""INSERT INTO {self._name}
                    SELECT part, hash(item_id), key_of(item_id, version), {self._file} FROM given"""
            )
            self._unread = [part for part in self._unread if not part.near(*names)]
            self._read += near


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers, which rise, as few ranges that hold them.

    >>> _runs([1, 2, 5, 90])
    [(1, 5), (90, 90)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number - runs[-1][1] <= APART:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _pieces(listing: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The listing in pieces: of PIECE_ROWS, twice as many each time, or what came in PIECE_S."""
    most, held, rows, began = PIECE_ROWS[0], list[pa.RecordBatch](), 0, time.monotonic()
    for batch in listing:
        held.append(batch)
        rows += batch.num_rows
        if rows >= most or (rows and time.monotonic() - began > PIECE_S):
            yield pa.Table.from_batches(held)
            most, held, rows, began = min(2 * most, PIECE_ROWS[1]), [], 0, time.monotonic()
    if rows:
        yield pa.Table.from_batches(held)
