"""What is known is read row group by row group, and only where a listing asks for its range."""

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.scoring import known, plan
from clipfake.scoring.known import KnownPart, committed_parts, part_rows, planned_parts
from clipfake.scoring.plan import Planner
from clipfake.storage.units import open_plans


@pytest.fixture
def nights(ledger, items, report_rows):
    """Ten files of a folder each, with two row groups."""
    for folder in range(10):
        rows = report_rows(items([f"{folder}/{i}" for i in range(6)]))
        with ledger.store.writing(f"{folder}.parquet") as sink:
            pq.write_table(rows, sink, row_group_size=3)
    return ledger


def test_a_night_reads_what_is_near_the_names_that_it_lists(nights, items, monkeypatch):
    read = []

    def counted(ledger, parts):
        parts = list(parts)
        read.extend((part.path, part.group) for _, part in parts)
        return part_rows(ledger, parts)

    monkeypatch.setattr(plan, "part_rows", counted)
    planner = Planner(nights, [])
    made = planner.write("run", items([f"4/{i}" for i in (2, 3, 9)]).to_reader(), "images", 4, 2)
    assert (made.items, planner.counts.done) == (1, 2)
    assert read == [("4.parquet", 0), ("4.parquet", 1)]


def test_the_rows_of_another_detector_are_passed_over_by_the_footer_and_by_the_row(ledger, items, report_rows):
    listing = items(["a", "b"])
    ledger.commit("other.parquet", report_rows(listing, detector="other"))
    mixed = pa.concat_tables([report_rows(listing.slice(0, 1), detector="c"), report_rows(listing.slice(1, 1))])
    with ledger.store.writing("mixed.parquet") as sink:
        pq.write_table(pa.concat_tables([mixed, report_rows(items(["c"]), detector="e")]), sink)
    (part,) = committed_parts(ledger)
    assert (part.path, part.names) == ("mixed.parquet", ("file:///c/a", "file:///c/c"))
    assert part_rows(ledger, [(7, part)]).read_all().to_pylist() == [
        {"part": 7, "item_id": "file:///c/b", "version": "1", "status": "ok", "file": "mixed.parquet"}
    ]


def test_what_is_planned_has_no_file(ledger, items):
    Planner(ledger, []).write("run", items(list("abc")).to_reader(), "images", 4, 2)
    parts = planned_parts(ledger, open_plans(ledger))
    assert [part.group for part in parts] == [0, 1]
    rows = part_rows(ledger, enumerate(parts)).read_all()
    assert rows["item_id"].to_pylist() == [f"file:///c/{name}" for name in "abc"]
    assert rows["part"].to_pylist() == [0, 0, 1] and rows["file"].null_count == rows["status"].null_count == 3


def test_a_row_group_without_statistics_is_near_everything(ledger, items, report_rows):
    with ledger.store.writing("x.parquet") as sink:
        pq.write_table(report_rows(items(["a"])), sink, write_statistics=False)
    (part,) = committed_parts(ledger)
    assert part.names is None and part.near("x", "y")
    assert Planner(ledger, []).write("run", items(["a", "b"]).to_reader(), "images", 4, 2).items == 1


@given(st.lists(st.integers(0, 200), unique=True).map(sorted))
def test_ranges_hold_all_numbers_and_few_others(numbers):
    runs = plan._runs(numbers)
    held = [number for first, last in runs for number in range(first, last + 1)]
    assert set(numbers) <= set(held) and len(held) == len(set(held))
    assert all(first in numbers and last in numbers for first, last in runs)
    assert all(later[0] - earlier[1] > known.APART for earlier, later in pairwise(runs))


@given(st.tuples(st.text("ab", max_size=3), st.text("ab", max_size=3)).map(sorted), st.text("ab", max_size=3))
def test_a_part_is_near_what_may_be_in_it(names, asked):
    assert KnownPart("", 0, tuple(names), None).near(asked, asked) is (names[0] <= asked <= names[1])
