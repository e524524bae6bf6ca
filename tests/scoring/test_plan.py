"""What is planned: all that is new, changed or to be tried again, once, and nothing else."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.scoring.plan import Planner
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.units import Plan, close_unit, open_plans


def plan(ledger: Ledger, listing: pa.Table, run_id: str = "run", unit_rows: int = 4, **kwargs) -> tuple[Plan, Planner]:
    planner = Planner(ledger, open_plans(ledger), **kwargs)
    return planner.write(run_id, listing.to_reader(), "images", unit_rows, chunk_rows=2), planner


def planned_rows(ledger: Ledger, plan: Plan) -> list[dict]:
    store = ledger.store
    tables = [pq.read_table(pa.BufferReader(store.read_bytes(unit.path))) for unit in plan.units]
    return [row for table in tables for row in table.to_pylist()]


def test_everything_is_new_at_first(ledger, items):
    done, planner = plan(ledger, items([f"{i}.jpg" for i in range(10)]))
    assert [unit.chunks for unit in done.units] == [(2, 2), (2, 2), (2,)]
    assert [row["item_id"] for row in planned_rows(ledger, done)] == [f"file:///c/{i}.jpg" for i in range(10)]
    counts = planner.counts
    assert (counts.listed, counts.new, counts.done, counts.retried, counts.bytes_to_read) == (10, 10, 0, 0, 100)


def test_what_is_committed_is_not_planned_again(ledger, items, report_rows):
    listing = items(["a", "b", "c"])
    ledger.commit("x.parquet", report_rows(listing.slice(0, 2)))
    done, planner = plan(ledger, listing)
    assert [row["item_id"] for row in planned_rows(ledger, done)] == ["file:///c/c"]
    assert (planner.counts.listed, planner.counts.done, planner.counts.new) == (3, 2, 1)


def test_a_changed_file_is_a_new_version(ledger, items, report_rows):
    ledger.commit("x.parquet", report_rows(items(["a", "b"])))
    done, planner = plan(ledger, pa.concat_tables([items(["a"]), items(["b"], version="2")]))
    assert [(row["item_id"], row["version"]) for row in planned_rows(ledger, done)] == [("file:///c/b", "2")]
    assert planner.counts.new == planner.counts.changed == 1


def test_rows_of_another_detector_do_not_count(ledger, items, report_rows):
    listing = items(["a"])
    ledger.commit("x.parquet", report_rows(listing, detector="other"))
    assert plan(ledger, listing)[1].counts.new == 1


@pytest.mark.parametrize("status", ["missing", "denied", "unreadable"])
def test_errors_that_may_pass_are_tried_again(ledger, items, report_rows, status):
    listing = items(["a", "b"])
    ledger.commit("x.parquet", report_rows(listing.slice(0, 1), status))
    ledger.commit("y.parquet", report_rows(listing.slice(1, 1)))
    done, planner = plan(ledger, listing)
    assert [(row["item_id"], row["rewrites"]) for row in planned_rows(ledger, done)] == [("file:///c/a", "x.parquet")]
    assert (planner.counts.retried, planner.counts.new) == (1, 0)


def test_permanent_errors_only_when_forced(ledger, items, report_rows):
    listing = items(["a"])
    ledger.commit("x.parquet", report_rows(listing, "corrupt"))
    assert plan(ledger, listing)[1].counts.retried == 0
    assert plan(ledger, listing, run_id="again", retry_errors=True)[1].counts.retried == 1


def test_retries_are_grouped_by_the_file_they_rewrite(ledger, items, report_rows):
    listing = items([str(i) for i in range(8)])
    for name, rows in (("x.parquet", [0, 3, 5]), ("y.parquet", [1, 2, 4])):
        ledger.commit(name, report_rows(listing.take(rows), "missing"))
    done, _ = plan(ledger, listing, unit_rows=3)
    files = [[row["rewrites"] for row in planned_rows(ledger, Plan("", "images", None, (u,)))] for u in done.units]
    assert files == [[None, None], ["x.parquet"] * 3, ["y.parquet"] * 3]


def test_open_units_of_a_dead_run_are_found_and_not_planned_twice(ledger, items, report_rows):
    listing = items([str(i) for i in range(10)])
    first, _ = plan(ledger, listing, run_id="dead")
    ledger.commit(first.units[0].name, report_rows(listing.slice(0, 4)))  # died before it forgot the unit
    close_unit(ledger.store, first.units[1])
    ledger.commit(first.units[1].name, report_rows(listing.slice(4, 4)))
    (left,) = open_plans(ledger)
    assert left.units == first.units[2:]
    assert not ledger.store.exists(first.units[0].path)
    assert plan(ledger, listing, run_id="next")[1].counts.new == 0


def test_a_plan_that_was_cut_off_is_nothing(ledger, items):
    listing = items(["a", "b"])
    plan(ledger, listing, run_id="cut")
    ledger.store.delete("_plan/cut/plan.json")
    assert open_plans(ledger) == []
    assert not ledger.store.folders("_plan")
    assert plan(ledger, listing)[1].counts.new == 2


def test_another_detectors_plan_stays_and_blocks_nothing(ledger, items):
    listing = items(["a"])
    plan(ledger, listing, run_id="first")
    other = Ledger(ledger.store, "report", REPORT_SCHEMA, "e", footer("report", {"detector": "e"}))
    assert open_plans(other) == []
    assert plan(other, listing, run_id="second")[1].counts.new == 1
    assert [p.run_id for p in open_plans(ledger)] == ["first"]


def test_dry_writes_nothing(ledger, items):
    planner = Planner(ledger, [])
    done = planner.write("run", items(["a"]).to_reader(), "images", 4, 2, dry=True)
    assert done.items == 1
    assert not ledger.store.exists("_plan")


def test_an_item_listed_twice_is_refused(ledger, items):
    with pytest.raises(UsageError, match=r"file:///c/a twice"):
        plan(ledger, items(["a", "b", "a"]))


def test_an_error_of_the_listing_comes_through_as_it_is(ledger, items):
    def broken():
        yield from items(["a"]).to_batches()
        raise UsageError("the table has no such column")

    listing = pa.RecordBatchReader.from_batches(items(["a"]).schema, broken())
    with pytest.raises(UsageError, match="no such column"):
        Planner(ledger, []).write("run", listing, "images", 4, 2)


def test_embeddings_that_are_kept_already_are_not_kept_twice(ledger, items, tmp_path):
    listing = items(["a", "b", "c"])
    schema = pa.schema(
        [("item_id", pa.string()), ("version", pa.string()), ("status", pa.string()), ("view", pa.int16())]
    )
    own = [*listing.select(["item_id", "version"]).slice(0, 2).columns, pa.array(["ok", "missing"]), pa.array([0, 0])]
    kept = pa.table(own, names=schema.names)
    saves = Ledger(Store(f"file://{tmp_path}/emb"), "embeddings", schema, "e", {})
    saves.commit("k.parquet", kept.cast(schema))
    done, _ = plan(ledger, listing, saves=saves)
    assert [row["saved"] for row in planned_rows(ledger, done)] == ["", None, "k.parquet"]


@given(
    listed=st.lists(st.tuples(st.integers(0, 20), st.sampled_from("12")), unique=True, max_size=30),
    done=st.dictionaries(
        st.tuples(st.integers(0, 20), st.sampled_from("12")), st.sampled_from(["ok", "corrupt", "missing"])
    ),
    unit_rows=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_planned_is_listed_less_done_plus_what_may_pass(tmp_path_factory, items, report_rows, listed, done, unit_rows):
    store = Store(f"file://{tmp_path_factory.mktemp('law')}")
    ledger = Ledger(store, "report", REPORT_SCHEMA, "d", {})
    for number, ((name, version), status) in enumerate(done.items()):
        ledger.commit(f"{number}.parquet", report_rows(items([str(name)], version), status))
    tables = [items([str(name)], version) for name, version in listed] or [items([]).slice(0, 0)]
    if not listed:
        return
    planned, planner = plan(ledger, pa.concat_tables(tables), unit_rows=unit_rows)
    rows = {(int(r["item_id"].rpartition("/")[2]), r["version"]) for r in planned_rows(ledger, planned)}
    assert rows == {key for key in listed if done.get(key) in (None, "missing")}
    assert planner.counts.listed == planner.counts.done + planner.counts.new + planner.counts.retried == len(listed)
    assert all(unit.rows <= unit_rows for unit in planned.units)


@given(
    listed=st.lists(st.integers(0, 60), unique=True, max_size=60),
    done=st.dictionaries(st.integers(0, 60), st.sampled_from(["ok", "missing"]), max_size=40),
    pieces=st.integers(1, 7),
    cut=st.integers(1, 9),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plans_of_one_listing_are_in_its_order_and_hold_each_item_once(
    tmp_path_factory, items, report_rows, listed, done, pieces, cut
):
    """Whatever pieces it comes in, and whenever a part of it becomes a plan; what rewrites files is in the last one."""
    ledger = Ledger(Store(f"file://{tmp_path_factory.mktemp('law')}"), "report", REPORT_SCHEMA, "d", {})
    for name, status in done.items():
        ledger.commit(f"{name}.parquet", report_rows(items([f"{name:02d}"]), status))
    names = [f"{name:02d}" for name in listed]
    tables = [items(names[start : start + pieces]) for start in range(0, len(names), pieces)] or [items([])]
    listing = pa.RecordBatchReader.from_batches(tables[0].schema, [batch for t in tables for batch in t.to_batches()])
    planner = Planner(ledger, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clipfake.scoring.plan.PIECE_ROWS", (1, 8))
        made = list(planner.plans("run", listing, "images", 4, 2, wanted=lambda count: count >= cut))
    assert len({one.run_id for one in made}) == len(made)
    rows = [[row["item_id"][-2:] for row in planned_rows(ledger, one)] for one in made]
    new, again = ([f"{n:02d}" for n in listed if done.get(n) == status] for status in (None, "missing"))
    flat = [name for one in rows for name in one]
    assert flat[: len(new)] == new and sorted(flat[len(new) :]) == sorted(again)
    assert all(len(one) >= cut for one in rows[:-1])
    counts = planner.counts
    assert (counts.listed, counts.new, counts.retried) == (len(listed), len(new), len(again))
    open_ones = open_plans(ledger)
    assert sum(one.items for one in open_ones) == len(flat)
    assert Planner(ledger, open_ones).write("next", items(names).to_reader(), "images", 4, 2).items == 0


def test_an_item_that_an_earlier_plan_of_the_listing_has_is_refused(ledger, items, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.plan.PIECE_ROWS", (1, 1))
    tables = [items([name]) for name in "abca"]
    listing = pa.RecordBatchReader.from_batches(tables[0].schema, [batch for t in tables for batch in t.to_batches()])
    plans = Planner(ledger, []).plans("run", listing, "images", 4, 2, wanted=lambda count: True)
    assert [next(plans).items for _ in range(3)] == [1, 1, 1]
    with pytest.raises(UsageError, match="lists file:///c/a twice"):
        next(plans)
    assert sum(one.items for one in open_plans(ledger)) == 3
