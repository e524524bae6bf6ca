"""Units commit whole, once, in any order of arrival; what is lost on the way is noticed."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.errors import ClipfakeError
from clipfake.scoring.chunk import ROW, UNIT
from clipfake.scoring.commit import Committer, Sink, Totals
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.units import Unit

UNITS = [Unit("run", 0, (2, 2)), Unit("run", 1, (2, 1))]


def rows_of(unit: int, report_rows, items, rewrites: str | None = None) -> pa.Table:
    n = UNITS[unit].rows
    table = report_rows(items([f"{unit}-{i}" for i in range(n)]))
    table = table.append_column("rewrites", pa.array([rewrites] * n, pa.string()))
    table = table.append_column(UNIT, pa.array(np.full(n, unit, np.int32)))
    return table.append_column(ROW, pa.array(np.arange(n, dtype=np.int32)))


def committer(ledger: Ledger) -> Committer:
    sink = Sink(ledger, lambda rows: rows.select(REPORT_SCHEMA.names), "rewrites")
    return Committer(ledger.store, UNITS, [sink], [], Totals())


def test_a_unit_is_visible_only_when_it_is_whole(ledger, items, report_rows):
    work, rows = committer(ledger), rows_of(0, report_rows, items)
    work.add(rows.slice(0, 3))
    assert ledger.files() == []
    work.add(rows.slice(3))
    assert ledger.files() == [UNITS[0].name]
    assert ledger.count(UNITS[0].name) == 4


def test_rows_that_did_not_come_back_are_noticed(ledger, items, report_rows):
    work = committer(ledger)
    work.add(rows_of(0, report_rows, items))
    work.add(rows_of(1, report_rows, items).slice(0, 2))
    assert work.missing == 1


def test_a_retried_row_replaces_the_row_where_it_is(ledger, items, report_rows):
    failed = report_rows(items(["1-0", "1-1", "1-2", "keep"]), "missing")
    ledger.commit("old.parquet", failed)
    committer(ledger).add(rows_of(1, report_rows, items, rewrites="old.parquet"))
    assert ledger.files() == ["old.parquet"]
    assert ledger.dataset().to_table()["status"].to_pylist() == ["ok", "ok", "ok", "missing"]


def test_a_lost_claim_stops_the_commit(ledger, items, report_rows):
    class Lost:
        def check(self) -> None:
            raise ClipfakeError("lost")

    sink = Sink(ledger, lambda rows: rows.select(REPORT_SCHEMA.names), "rewrites")
    work = Committer(ledger.store, UNITS, [sink], [Lost()], Totals())  # type: ignore[list-item]
    with pytest.raises(ClipfakeError, match="lost"):
        work.add(rows_of(0, report_rows, items))
    assert ledger.files() == []


@given(came=st.sets(st.integers(0, 6)))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_left_are_the_chunks_that_lack_a_row(tmp_path_factory, items, report_rows, came):
    ledger = Ledger(
        Store(f"file://{tmp_path_factory.mktemp('law')}"), "report", REPORT_SCHEMA, "d", footer("report", {})
    )
    work = committer(ledger)
    rows = pa.concat_tables([rows_of(0, report_rows, items), rows_of(1, report_rows, items)])
    work.add(rows.take(pa.array(sorted(came), pa.int64())))
    places = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1)]
    left = [(chunk["unit"], chunk["group"]) for chunk in work.chunks() if work.lacks(chunk)]
    assert left == sorted({place for i, place in enumerate(places) if i not in came})
    assert work.missing == 7 - len(came)
    assert work.left(0) == 4 - len(came & {0, 1, 2, 3})


@given(order=st.permutations(range(7)), again=st.lists(st.integers(0, 6), max_size=5), cut=st.integers(1, 3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_repetition_gives_the_same_files(tmp_path_factory, items, report_rows, order, again, cut):
    ledger = Ledger(
        Store(f"file://{tmp_path_factory.mktemp('law')}"), "report", REPORT_SCHEMA, "d", footer("report", {})
    )
    work = committer(ledger)
    rows = pa.concat_tables([rows_of(0, report_rows, items), rows_of(1, report_rows, items)])
    arrival = [*order[:4], *again, *order[4:], *again]
    for start in range(0, len(arrival), cut):
        work.add(rows.take(arrival[start : start + cut]))
    assert work.missing == 0
    assert not any(work.lacks(chunk) for chunk in work.chunks())
    found = ledger.dataset().to_table()["item_id"].to_pylist()
    assert found == [f"file:///c/{unit}-{i}" for unit, n in ((0, 4), (1, 3)) for i in range(n)]
