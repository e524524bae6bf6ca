"""The one reader of report folders: one detector's rows, of each item the latest, asked by SQL in bounded memory.

The rule: of an item's versions the one that was scored last counts; of two scored at once, the greater version.
"""

import contextlib
import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store, kind_of

_TIME = "strftime(make_timestamp(epoch_us({})), '{}')"  # UTC, whatever the session's time zone is


def open_report(place: str) -> Ledger:
    """The report in the folder `place`; columns younger than its files are null. Raises UsageError where none is."""
    store = Store(uris.place(place))
    if kind_of(store.uri) != "report":
        raise UsageError(f"{place} holds no report: make one with `clipfake score ... --out REPORTS`")
    return Ledger(store, "report", REPORT_SCHEMA, "", {})


def footer_of(report: Ledger, detector: str) -> dict[str, Any]:
    """What the newest file of the detector says, and its `columns`."""
    for name in reversed(report.files()):
        schema = pq.read_schema(report.store.path(name), filesystem=report.store.filesystem)
        found = read_footer(schema.metadata)
        if found.get("detector") == detector:
            return {**found, "columns": schema.names}
    return {"columns": []}


def below(*places: str) -> pads.Expression:
    """The rows of items at or below canonical URIs. Ranges of item_ids, so that row groups elsewhere are not read."""
    item, after = pc.field("item_id"), {"/": "0", "#": "$"}  # the character that follows each
    ranges = [(item >= f"{at}{sign}") & (item < f"{at}{end}") for at in places for sign, end in after.items()]
    return functools.reduce(operator.or_, ranges, item.isin(places))


class Rows:
    """Rows that SQL can ask for. `view` has the columns of the report and

    us : scored_at in microseconds; folder : of the file that holds the item; day, minute : of scored_at, YYYY-MM-DD and
    YYYY-MM-DD HH:MM in UTC
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, view: str) -> None:
        self.database = database
        self.view = view

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The answer to a query that says $rows for the view, none to a statement; other parameters go by name."""
        found = self._asked(query, parameters)
        return [] if found is None else found.to_arrow_table().to_pylist()

    def stream(self, query: str, batch_rows: int, **parameters: Any) -> pa.RecordBatchReader:
        """The answer to a query, as `ask` takes it, in batches."""
        return self._asked(query, parameters).to_arrow_reader(batch_rows)

    def register(self, name: str, table: pa.RecordBatchReader) -> None:
        """Lets queries read a stream, once, under a name."""
        self.database.register(name, table)

    def _asked(self, query: str, parameters: dict[str, Any]) -> Any:
        return self.database.sql(query.replace("$rows", self.view), params=parameters or None)


@contextlib.contextmanager
def rows_of(dataset: pads.Dataset | pa.Table, *, ordered: bool = True) -> Iterator[Rows]:
    """All rows of a report, of whichever detector and version. ordered : as in `temporary_database`"""
    with temporary_database(ordered=ordered) as database:
        database.register("report", dataset)
        database.execute(
            f"""CREATE TEMP VIEW every_row AS SELECT * EXCLUDE (scored_at), epoch_us(scored_at) AS us,
                parse_dirpath(uri) AS folder, {_TIME.format("scored_at", "%Y-%m-%d")} AS day,
                {_TIME.format("scored_at", "%Y-%m-%d %H:%M")} AS minute FROM report"""
        )
        yield Rows(database, "every_row")


def detectors(rows: Rows) -> list[dict[str, Any]]:
    """{"detector", "n", "last" (YYYY-MM-DD HH:MM)}, the one that scored last first."""
    return rows.ask(
        "SELECT detector, count(*) AS n, max(minute) AS last FROM $rows GROUP BY 1 ORDER BY max(us) DESC, 1"
    )


def chosen_detector(there: list[dict[str, Any]], wanted: str | None, place: str, *, last: bool = False) -> str:
    """The one of `detectors` whose fingerprint begins with `wanted`; None: the only one, or with `last` the first.

    Raises UsageError where there is none, or more than one.
    """
    known = ", ".join(row["detector"][:16] for row in there)
    fitting = [str(row["detector"]) for row in there if row["detector"].startswith(wanted or "")]
    if not there:
        raise UsageError(f"{place} has no rows")
    if not fitting:
        raise UsageError(f"{place} has no rows of the detector {str(wanted)[:16]}; it has those of {known}")
    if len(fitting) > 1 and not (last and wanted is None):
        raise UsageError(
            f"{place} has rows of several detectors: give the beginning of the fingerprint of one ({known})"
        )
    return fitting[0]


def latest(rows: Rows, detector: str, runs: Sequence[str] | None = None) -> Rows:
    """Of each item the row that this detector scored last, by the rule above. It replaces what was `latest` before.

    runs : the runs whose rows alone are looked at; None for all
    """
    database = rows.database
    database.execute("SET VARIABLE detector = $detector", {"detector": detector})
    database.execute("SET VARIABLE runs = $runs", {"runs": None if runs is None else list(runs)})
    mine = "detector = getvariable('detector')"
    if runs is not None:
        mine += " AND list_contains(getvariable('runs'), run_id)"
    # Few items change: those that may have are found by 8 bytes each, and only these are looked at by name.
    database.execute(
        f"""CREATE OR REPLACE TEMP TABLE changed AS
            SELECT item_id, max_by(version, (us, version)) AS version FROM every_row
            WHERE {mine} AND hash(item_id) IN
                (SELECT hash(item_id) FROM every_row WHERE {mine} GROUP BY 1 HAVING count(*) > 1)
            GROUP BY item_id HAVING count(*) > 1"""
    )
    ((changed,),) = database.execute("SELECT count(*) FROM changed").fetchall()
    older = "EXISTS (FROM changed c WHERE c.item_id = r.item_id AND c.version <> r.version)"
    only = f"{mine} AND NOT {older}" if changed else mine
    database.execute(f"CREATE OR REPLACE TEMP VIEW latest AS SELECT * FROM every_row r WHERE {only}")
    return Rows(database, "latest")
