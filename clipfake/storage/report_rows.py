"""The rows of a report as a page counts them: one detector's, the latest of each item, in DuckDB over Parquet."""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow.dataset as pads

MEMORY = "384MB"  # of DuckDB's; what does not fit is spilled to disk
_TIME = "strftime(make_timestamp(epoch_us({})), '{}')"  # UTC, whatever the session's time zone is


class Rows:
    """Rows that SQL can ask for. `view` has the columns of the report and

    folder : of the file that holds the item; day, minute : of scored_at, YYYY-MM-DD and YYYY-MM-DD HH:MM in UTC
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, view: str) -> None:
        self._database = database
        self.view = view

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The answer to a query that says $rows for the view, none to a statement; other parameters go by name."""
        found = self._database.sql(query.replace("$rows", self.view), params=parameters or None)
        return [] if found is None else found.to_arrow_table().to_pylist()


@contextlib.contextmanager
def opened(dataset: pads.Dataset) -> Iterator[Rows]:
    """All rows, of whichever detector and version. Memory is bounded; what does not fit goes to a temporary file."""
    with tempfile.TemporaryDirectory(prefix="clipfake-report-") as spill:
        settings: dict[str, Any] = {"memory_limit": MEMORY, "temp_directory": spill}
        with duckdb.connect(f"{spill}/report.duckdb", config=settings) as database:
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


def latest(rows: Rows, detector: str, run_id: str | None = None) -> Rows:
    """Of each item the row that this detector scored last; with `run_id`, the rows that this run committed."""
    database = rows._database
    database.execute("SET VARIABLE detector = $detector", {"detector": detector})
    database.execute("SET VARIABLE run_id = $run_id", {"run_id": run_id})
    mine = "detector = getvariable('detector')"
    if run_id is not None:  # which scored each item once
        mine += " AND run_id = getvariable('run_id')"
    # Few items change: those that may have are found by 8 bytes each, and only these are looked at by name.
    database.execute(
        f"""CREATE OR REPLACE TEMP TABLE changed AS
            SELECT item_id, arg_max(version, us) AS version FROM every_row
            WHERE {mine} AND hash(item_id) IN
                (SELECT hash(item_id) FROM every_row WHERE {mine} GROUP BY 1 HAVING count(*) > 1)
            GROUP BY item_id HAVING count(*) > 1"""
    )
    ((changed,),) = database.execute("SELECT count(*) FROM changed").fetchall()
    older = "EXISTS (FROM changed c WHERE c.item_id = r.item_id AND c.version <> r.version)"
    only = f"{mine} AND NOT {older}" if changed else mine
    database.execute(f"CREATE OR REPLACE TEMP VIEW latest AS SELECT * FROM every_row r WHERE {only}")
    return Rows(database, "latest")
