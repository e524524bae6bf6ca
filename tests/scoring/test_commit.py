"""Units commit whole, once, in any order of arrival; what is lost on the way is noticed."""

import threading
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.errors import ClaimLostError, ClipfakeError
from clipfake.scoring.commit import COMMITS, Committer, Order, Sink, Totals, commit_unit
from clipfake.scoring.executor import InProcess
from clipfake.scoring.part_files import hand_over
from clipfake.scoring.unit_chunks import ROW, UNIT
from clipfake.storage.claim import Claim, claimed
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.units import Unit

UNITS = [Unit("run", 0, (2, 2)), Unit("run", 1, (2, 1))]


class Elsewhere:
    """Where orders are done: when it is told to, as a cluster would."""

    def __init__(self) -> None:
        self.orders: list[tuple[Order, Future[Totals]]] = []

    def commit(self, order: Order) -> Future[Totals]:
        self.orders.append((order, Future()))
        return self.orders[-1][1]

    def work(self) -> None:
        for order, future in self.orders:
            future.set_result(commit_unit(order))
        self.orders.clear()


class Lost:
    def check(self) -> None:
        raise ClaimLostError("lost")


def rows_of(unit: int, report_rows, items, rewrites: str | None = None) -> pa.Table:
    n = UNITS[unit].rows
    table = report_rows(items([f"{unit}-{i}" for i in range(n)]))
    table = table.append_column("rewrites", pa.array([rewrites] * n, pa.string()))
    table = table.append_column(UNIT, pa.array([UNITS[unit].path] * n))
    return table.append_column(ROW, pa.array(np.arange(n, dtype=np.int32)))


def committer(ledger: Ledger, units=tuple(UNITS), claims=(), commit=None) -> Committer:
    ledger.store.filesystem.create_dir(ledger.store.path("_plan/run"), recursive=True)
    sink = Sink(ledger, lambda rows: rows.select(REPORT_SCHEMA.names), "rewrites")
    return Committer(ledger.store, list(units), [sink], claims, Totals(), commit or InProcess(1).commit)


def came(work: Committer, ledger: Ledger, *tables: pa.Table) -> int:
    """Rows that come as chunks of a task."""
    return work.add(hand_over(ledger.store, list(tables)))


def test_a_unit_is_visible_only_when_it_is_whole(ledger, items, report_rows):
    work, rows = committer(ledger), rows_of(0, report_rows, items)
    assert came(work, ledger, rows.slice(0, 2), rows.slice(2, 1)) == 3
    assert ledger.files() == []
    assert came(work, ledger, rows.slice(3)) == 1
    assert ledger.files() == [UNITS[0].name]
    assert ledger.count(UNITS[0].name) == 4
    work.settle(0.0)
    came(work, ledger, rows_of(1, report_rows, items))
    work.settle(0.0)
    assert len(ledger.store.list("_plan/run")) == 1  # the parts of a unit go with the next one


def test_rows_that_did_not_come_back_are_noticed(ledger, items, report_rows):
    work = committer(ledger)
    came(work, ledger, rows_of(0, report_rows, items))
    came(work, ledger, rows_of(1, report_rows, items).slice(0, 2))
    assert work.missing == 1
    assert not work.committing or work.settle(0.0)
    assert work.open_units == 1


def test_a_retried_row_replaces_the_row_where_it_is(ledger, items, report_rows):
    failed = report_rows(items(["1-0", "1-1", "1-2", "keep"]), "missing")
    ledger.commit("old.parquet", failed)
    came(committer(ledger), ledger, rows_of(1, report_rows, items, rewrites="old.parquet"))
    assert ledger.files() == ["old.parquet"]
    assert ledger.dataset().to_table()["status"].to_pylist() == ["ok", "ok", "ok", "missing"]


def test_a_lost_claim_stops_the_commit(ledger, items, report_rows):
    work = committer(ledger, claims=[Lost()])
    came(work, ledger, rows_of(0, report_rows, items))
    with pytest.raises(ClaimLostError):
        work.settle(0.0)
    assert ledger.files() == []


def test_a_claim_that_is_lost_while_a_unit_is_written_keeps_it_from_being_seen(ledger, items, report_rows):
    class Later(Lost):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks > 1:
                super().check()

    work = committer(ledger, claims=[Later()])
    came(work, ledger, rows_of(0, report_rows, items))
    with pytest.raises(ClaimLostError):
        work.settle(0.0)
    assert ledger.files() == []
    assert ledger.store.list("_plan/run")  # what another run goes on with is still there


def test_a_commit_done_twice_is_done_once(ledger, items, report_rows):
    """Of one whose process died before it could say so, and of one that was thought dead and ends after the other."""
    orders: list[Order] = []
    work = committer(ledger, commit=lambda order: orders.append(order) or Future())
    came(work, ledger, rows_of(0, report_rows, items))
    work.again()
    first, again = orders
    assert commit_unit(first).status == commit_unit(again).status
    assert ledger.dataset().to_table().num_rows == 4


def test_what_was_under_way_when_the_cluster_went_is_done_again(ledger, items, report_rows):
    there = Elsewhere()
    work = committer(ledger, commit=there.commit)
    came(work, ledger, rows_of(0, report_rows, items))
    there.orders.clear()  # it died with the cluster
    assert work.committing
    assert not work.settle(0.0)
    work.again()
    there.work()
    assert work.settle(0.0)
    assert (work.committing, work.open_units) == (False, 1)
    assert ledger.files() == [UNITS[0].name]


def test_units_that_replace_rows_are_committed_one_after_the_other(ledger, items, report_rows):
    """Two of them may have rows in one file, which each of them rewrites."""
    ledger.commit(
        "old.parquet", report_rows(items([f"{u}-{i}" for u in (0, 1) for i in range(UNITS[u].rows)]), "missing")
    )
    there = Elsewhere()
    work = committer(ledger, commit=there.commit)
    for unit in (0, 1):
        came(work, ledger, rows_of(unit, report_rows, items, rewrites="old.parquet"))
    for _ in range(2):
        assert len(there.orders) == 1
        there.work()
        work.settle(0.0)
    assert ledger.dataset().to_table()["status"].to_pylist() == ["ok"] * 7


@pytest.mark.parametrize(("actors", "most"), [(1, COMMITS), (32, 8)])
def test_so_many_units_are_committed_at_a_time(ledger, items, report_rows, actors, most):
    units = [Unit("run", number, (1,)) for number in range(most + 2)]
    there = Elsewhere()
    work = committer(ledger, units, commit=there.commit)
    work.expect(actors)
    for unit in units:
        row = report_rows(items([unit.name])).append_column(UNIT, pa.array([unit.path]))
        came(work, ledger, row.append_column("rewrites", pa.nulls(1, pa.string())).append_column(ROW, pa.array([0])))
    assert len(there.orders) == most
    there.work()
    work.settle(0.0)
    assert len(there.orders) == 2


def test_a_unit_whose_commit_fails_is_named_and_the_others_go_on(ledger, items, report_rows):
    work = committer(ledger)
    rows = rows_of(0, report_rows, items)
    heard = hand_over(ledger.store, [rows])
    ledger.store.delete(heard["part"][0].as_py())
    work.add(heard)
    came(work, ledger, rows_of(1, report_rows, items))
    while work.committing:
        work.settle(0.0)
    assert list(work.failed) == [0]
    assert ledger.files() == [UNITS[1].name]


def test_where_commit_after_commit_fails_it_is_not_the_units(ledger, items, report_rows):
    def fails(order: Order) -> Future[Totals]:
        future: Future[Totals] = Future()
        future.set_exception(OSError("the disk is full"))
        return future

    units = [Unit("run", number, (1,)) for number in range(4)]
    work = committer(ledger, units, commit=fails)
    for unit in units:
        row = report_rows(items([unit.name])).append_column(UNIT, pa.array([unit.path]))
        came(work, ledger, row.append_column(ROW, pa.array([0])))
    with pytest.raises(ClipfakeError, match="3 commits in a row failed: the disk is full"):
        while work.committing:
            work.settle(0.0)


def everything(tmp_path_factory, items, report_rows) -> tuple[Ledger, list[pa.Table]]:
    ledger = Ledger(
        Store(f"file://{tmp_path_factory.mktemp('law')}"), "report", REPORT_SCHEMA, "d", footer("report", {})
    )
    tables = [rows_of(unit, report_rows, items) for unit in (0, 1)]
    return ledger, [table.slice(i, 1) for table in tables for i in range(table.num_rows)]


@given(there=st.sets(st.integers(0, 6)))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_left_are_the_chunks_that_lack_a_row(tmp_path_factory, items, report_rows, there):
    ledger, rows = everything(tmp_path_factory, items, report_rows)
    work = committer(ledger)
    assert sum(came(work, ledger, rows[i]) for i in sorted(there)) == len(there)
    places = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1)]
    left = [(chunk["unit"], chunk["group"]) for chunk in work.chunks() if work.lacks(chunk)]
    assert left == sorted({place for i, place in enumerate(places) if i not in there})
    assert work.missing == 7 - len(there)
    assert work.left(0) == 4 - len(there & {0, 1, 2, 3})


@given(order=st.permutations(range(7)), again=st.lists(st.integers(0, 6), max_size=5))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_repetition_gives_the_same_files(tmp_path_factory, items, report_rows, order, again):
    ledger, rows = everything(tmp_path_factory, items, report_rows)
    work = committer(ledger)
    for i in [*order[:4], *again, *order[4:], *again]:
        came(work, ledger, rows[i])
    while work.committing:
        work.settle(0.0)
    assert (work.missing, work.open_units) == (0, 0)
    assert not any(work.lacks(chunk) for chunk in work.chunks())
    found = ledger.dataset().to_table()["item_id"].to_pylist()
    assert found == [f"file:///c/{unit}-{i}" for unit, n in ((0, 4), (1, 3)) for i in range(n)]


class Paused:
    """A committer on a node that is cut off, at a point of its commit, until `back` is set."""

    def __init__(self, order: Order, monkeypatch: pytest.MonkeyPatch, *, checked: bool) -> None:
        """checked : it stops after its last check, before the file becomes visible; else before that check"""
        self.there, self.back = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        publish, checks = Store._publish, order.claims[0].check

        def paused_publish(store: Store, temporary: str, path: str) -> None:
            if threading.current_thread() is self.thread:
                self._stop()
            publish(store, temporary, path)

        class Slow:
            calls = 0

            def check(slow) -> None:  # noqa: N805
                slow.calls += 1
                if slow.calls == 2:
                    self._stop()
                checks()

        if checked:
            monkeypatch.setattr(Store, "_publish", paused_publish)
        else:
            order = replace(order, claims=(Slow(),))
        self.thread = threading.Thread(target=self._work, args=(order,), daemon=True)
        self.thread.start()
        assert self.there.wait(60)

    def _stop(self) -> None:
        self.there.set()
        self.back.wait(60)

    def _work(self, order: Order) -> None:
        try:
            commit_unit(order)
        except BaseException as error:
            self.error = error

    def returns(self) -> None:
        self.back.set()
        self.thread.join(60)


@pytest.mark.parametrize("checked", [True, False])
def test_a_committer_that_was_cut_off_is_back_after_the_claim_has_passed_on(
    ledger, items, report_rows, monkeypatch, checked
):
    """After its last check it overwrites a file with the same rows; before it, it writes nothing."""
    orders: list[Order] = []
    claim = Claim(ledger.store, "first")
    claim.take()
    work = committer(ledger, claims=[claim.standing], commit=lambda order: orders.append(order) or Future())
    came(work, ledger, rows_of(0, report_rows, items))
    zombie = Paused(orders[0], monkeypatch, checked=checked)
    claim.release()
    with claimed(ledger.store, "second") as taken:
        other = committer(ledger, claims=[taken.standing])
        came(other, ledger, rows_of(0, report_rows, items))
        other.settle(0.0)
        before = ledger.store.read_bytes(UNITS[0].name)
        zombie.returns()
        assert isinstance(zombie.error, ClaimLostError)  # at the latest where it would forget the unit
    assert ledger.files() == [UNITS[0].name]
    assert ledger.dataset().to_table()["item_id"].to_pylist() == [f"file:///c/0-{i}" for i in range(4)]
    assert ledger.store.read_bytes(UNITS[0].name) == before
