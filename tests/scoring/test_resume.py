"""What open units hold that is done by now is not done again; what was merged meanwhile is found."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.scoring.plan import Planner
from clipfake.scoring.resume import take_up
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.units import Plan, open_plans


def planned(ledger: Ledger, listing: pa.Table, run_id: str, **kwargs) -> Plan:
    """As a driver does it that looked at what was open before the others came."""
    return Planner(ledger, [], **kwargs).write(run_id, listing.to_reader(), "images", 4, 2)


def rows_of(ledger: Ledger, plans: list[Plan], name: str = "item_id") -> list[list[str]]:
    return [
        [
            value.rpartition("/")[2] if name == "item_id" else value
            for unit in plan.units
            for value in pq.read_table(pa.BufferReader(ledger.store.read_bytes(unit.path)))[name].to_pylist()
        ]
        for plan in plans
    ]


def test_a_driver_that_slept_while_planning_doubles_nothing(ledger, items):
    """Its plan appears after its successor has planned the same items."""
    listing = items([str(i) for i in range(10)])
    planned(ledger, listing, "slept")
    planned(ledger, listing, "successor")
    taken = take_up(ledger, open_plans(ledger))
    assert rows_of(ledger, taken) == [[str(i) for i in range(10)], []]
    assert rows_of(ledger, take_up(ledger, open_plans(ledger))) == [[str(i) for i in range(10)]]


def test_nor_where_the_successor_has_done_a_part_of_it(ledger, items, report_rows):
    listing = items([str(i) for i in range(10)])
    first = planned(ledger, listing, "slept")
    ledger.commit("other.parquet", report_rows(listing.take([0, 5, 8, 9])))
    ledger.commit("failed.parquet", report_rows(listing.take([1]), "missing"))  # has its row: a later run's retry
    (taken,) = take_up(ledger, open_plans(ledger))
    assert rows_of(ledger, [taken]) == [["2", "3", "4", "6", "7"]]
    assert [unit.chunks for unit in taken.units] == [(2,), (2, 1)]
    assert not ledger.store.exists(first.units[2].path)
    (again,) = open_plans(ledger)
    assert (again.units, again.lost) == (taken.units, ())  # a unit without items is not taken for a lost one


def test_a_retry_goes_into_the_file_that_holds_the_row_now(ledger, items, report_rows):
    listing = items(["a", "b", "c"])
    ledger.commit("x.parquet", report_rows(listing, "missing"))
    planned(ledger, listing, "run")
    ledger.store.delete("x.parquet")
    ledger.commit("merged.parquet", report_rows(listing.slice(1), "missing"))
    ledger.commit("good.parquet", report_rows(listing.slice(0, 1)))
    taken = take_up(ledger, open_plans(ledger))
    assert rows_of(ledger, taken) == [["b", "c"]]
    assert rows_of(ledger, taken, "rewrites") == [["merged.parquet", "merged.parquet"]]


def test_embeddings_that_are_there_by_now_are_not_kept_twice(ledger, items, tmp_path):
    schema = pa.schema(
        [("item_id", pa.string()), ("version", pa.string()), ("status", pa.string()), ("view", pa.int16())]
    )
    listing, saves = items(["a", "b", "c"]), Ledger(Store(f"file://{tmp_path}/emb"), "embeddings", schema, "e", {})
    planned(ledger, listing, "run", saves=saves)
    own = [*listing.select(["item_id", "version"]).slice(0, 2).columns, pa.array(["ok", "missing"]), pa.array([0, 0])]
    saves.commit("run-000000.parquet", pa.table(own, names=schema.names).cast(schema))
    taken = take_up(ledger, open_plans(ledger), saves)
    assert rows_of(ledger, taken, "saved") == [["", "run-000000.parquet", None]]


def test_nothing_is_written_where_nothing_changed_or_the_claim_is_lost(ledger, items, report_rows):
    def lost() -> None:
        raise RuntimeError("lost")

    listing = items(["a", "b", "c"])
    planned(ledger, listing, "run")
    take_up(ledger, open_plans(ledger), check=lost)
    ledger.commit("other.parquet", report_rows(listing.slice(0, 1)))
    with pytest.raises(RuntimeError):
        take_up(ledger, open_plans(ledger), check=lost)
    assert rows_of(ledger, open_plans(ledger)) == [["a", "b", "c"]]


@given(
    plans=st.lists(st.lists(st.integers(0, 12), unique=True, min_size=1), min_size=1, max_size=3),
    done=st.dictionaries(st.integers(0, 12), st.sampled_from(["ok", "missing", "corrupt"]), max_size=8),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_item_is_left_once_if_it_has_no_row(tmp_path_factory, items, report_rows, plans, done):
    ledger = Ledger(Store(f"file://{tmp_path_factory.mktemp('law')}"), "report", REPORT_SCHEMA, "d", {})
    for number, names in enumerate(plans):
        planned(ledger, items([str(name) for name in names]), f"run{number}")
    for name, status in done.items():
        ledger.commit(f"{name}.parquet", report_rows(items([str(name)]), status))
    left = [int(name) for names in rows_of(ledger, take_up(ledger, open_plans(ledger))) for name in names]
    assert len(left) == len(set(left))
    assert set(left) == {name for names in plans for name in names} - done.keys()
