"""A report as users open it in Python: of each item the latest row, as Arrow and as a relation of DuckDB."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import duckdb
import pyarrow as pa

from clipfake.errors import UsageError
from clipfake.storage.reports import chosen_detector, detectors, latest, open_report, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA

_BATCH_ROWS = 65_536
_AS_STORED = {"scored_at": "make_timestamptz(us) AS scored_at"}
_COLUMNS = ", ".join(_AS_STORED.get(name, name) for name in REPORT_SCHEMA.names)


class LatestRows:
    """The rows of one detector, of each item the one that it scored last. Made by `latest_rows`.

    detector : its fingerprint, None where the report has no row
    detectors : all that scored, {"detector", "n", "last"}, the one that scored last first

    Memory is bounded but for what a method returns; what does not fit lies in a temporary file until `close`, the end
    of a `with` block, or the end of the process.
    """

    def __init__(self, place: str, detector: str | None = None) -> None:
        dataset = open_report(place).dataset()
        self._stack = ExitStack()
        rows = self._stack.enter_context(rows_of(dataset))
        self._database = rows.database
        self.detectors = detectors(rows)
        self.detector = None
        if self.detectors or detector:
            try:
                self.detector = chosen_detector(self.detectors, detector, place, last=True)
            except UsageError:
                self.close()
                raise
        items = latest(rows, self.detector or "")
        self._database.execute(f"CREATE TEMP VIEW items AS SELECT {_COLUMNS} FROM {items.view}")

    def sql(self, query: str, **parameters: Any) -> duckdb.DuckDBPyRelation:
        """The answer of DuckDB to a query of the table `items`; `.df()`, `.to_arrow_table()`, `.fetchall()` give it.

        A parameter `name` is written $name in the query.
        """
        return self._database.sql(query, params=parameters or None)

    def relation(self) -> duckdb.DuckDBPyRelation:
        """All rows, as a relation to go on with: `.filter("verdict = 'fake'").order("decision DESC").limit(20)`."""
        return self._database.sql("FROM items")

    def table(self, columns: Sequence[str] = tuple(REPORT_SCHEMA.names), where: str = "true") -> pa.Table:
        """The rows in memory, with these columns of the report. where : a condition of DuckDB's"""
        return self.reader(columns, where).read_all()

    def reader(self, columns: Sequence[str] = tuple(REPORT_SCHEMA.names), where: str = "true") -> pa.RecordBatchReader:
        """The same batch by batch, however many rows there are."""
        if unknown := set(columns) - set(REPORT_SCHEMA.names):
            has = ", ".join(REPORT_SCHEMA.names)
            raise UsageError(f"a report has no column {', '.join(sorted(unknown))}; it has {has}")
        schema = pa.schema([REPORT_SCHEMA.field(name) for name in columns])
        found = self._database.sql(f"SELECT {', '.join(columns)} FROM items WHERE {where}").to_arrow_reader(_BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in found))

    def close(self) -> None:
        """Deletes the temporary file; nothing can be asked afterwards."""
        self._stack.close()

    def __enter__(self) -> "LatestRows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def latest_rows(place: str, detector: str | None = None) -> LatestRows:
    """The latest rows of the report in a folder or at a URI, by default of the detector that scored last.

    detector : the beginning of its fingerprint. Raises UsageError where there is no report, or none of it.
    """
    return LatestRows(place, detector)
