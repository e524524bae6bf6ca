"""Questions to the rows of a report: DuckDB over a stream of the committed ones, in bounded memory."""

import contextlib
import functools
import operator
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as pads

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store, kind_of

MEMORY = "640MB"  # of DuckDB's; what does not fit is spilled to disk


def open_report(place: str) -> Ledger:
    """The report in the folder `place`; columns younger than its files are null. Raises UsageError where none is."""
    store = Store(uris.place(place))
    if kind_of(store.uri) != "report":
        raise UsageError(f"{place} holds no report: make one with `clipfake score ... --out REPORTS`")
    return Ledger(store, "report", REPORT_SCHEMA, "", {})


def below(place: str) -> pads.Expression:
    """The rows of items at or below a canonical URI. A range of item_ids, so that row groups elsewhere are not read."""
    item, after = pc.field("item_id"), {"/": "0", "#": "$"}  # the character that follows each
    ranges = [(item >= f"{place}{sign}") & (item < f"{place}{end}") for sign, end in after.items()]
    return functools.reduce(operator.or_, ranges, item == place)


@contextlib.contextmanager
def rows(
    report: Ledger, columns: Sequence[str] | Mapping[str, pads.Expression], only: pads.Expression | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the view `report`: the committed rows, each once. It can be read through once.

    columns : names, or name -> an expression of pyarrow's; only : which rows
    """
    settings: dict[str, Any] = {"memory_limit": MEMORY}
    with (
        tempfile.TemporaryDirectory(prefix="clipfake-report-") as spill,
        duckdb.connect(config={**settings, "temp_directory": spill}) as database,
    ):
        database.register("report", report.dataset().scanner(columns=columns, filter=only, **SCAN).to_reader())
        yield database
