"""One rule for the latest row of an item: the page, its drift section, groups and the share of fakes count the same."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.report.drift import drift, drift_of_places
from clipfake.report.group_tables import Stability, group_tables
from clipfake.report.report import PageOptions, summarise
from clipfake.storage.reports import chosen_detector, detectors, latest, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def report_of(drawn):
    """(item, version, hour, run) -> rows; an item's decision is its place in the list, so that rows can be told."""
    rows = [
        {"item_id": f"file:///c/{item}", "uri": f"file:///c/{item}", "version": version, "status": "ok",
         "decision": float(i), "probability": 0.5, "verdict": "fake", "group_id": "g", "detector": "d",
         "run_id": f"r{run}", "scored_at": NOW + timedelta(hours=hour)}
        for i, (item, version, hour, run) in enumerate(drawn)
    ]  # fmt: skip
    filled = [{name: row.get(name) for name in REPORT_SCHEMA.names} for row in rows]
    return pa.Table.from_pylist(filled, schema=REPORT_SCHEMA)


rows_drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.integers(0, 2), st.integers(0, 1)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[:2],  # a detector has one row for an item and version
)


@settings(deadline=None, max_examples=40)
@given(rows_drawn)
def test_the_latest_row_is_that_of_the_last_hour_and_then_of_the_greater_version(drawn):
    table = report_of(drawn)
    for runs in (None, ["r0"], ["r0", "r1"]):
        expected = {}
        for i, (item, version, hour, run) in enumerate(drawn):
            if runs is None or f"r{run}" in runs:
                expected[item] = max(expected.get(item, (-1, "", -1)), (hour, version, i))
        with rows_of(table) as rows:
            found = latest(rows, "d", runs).ask("SELECT decision FROM $rows")
            groups = list(group_tables(latest(rows, "d", runs), "d", Stability()))
        assert sorted(row["decision"] for row in found) == sorted(i for *_, i in expected.values())
        assert sum(pa.concat_tables(groups)["members"].to_pylist() if groups else []) == len(expected)


def test_another_detector_has_its_own_latest_row():
    table = pa.concat_tables([report_of([("a", "1", 0, 0)]), report_of([("a", "2", 5, 0)])])
    table = table.set_column(table.schema.get_field_index("detector"), "detector", pa.array(["d", "e"]))
    with rows_of(table) as rows:
        assert [(row["detector"], row["n"]) for row in detectors(rows)] == [("e", 1), ("d", 1)]
        assert latest(rows, "d").ask("SELECT version FROM $rows") == [{"version": "1"}]


@pytest.fixture
def rewritten(ledger, items, report_rows):
    """Two nights of 200 items below one place each; of the second, 150 had failed in an older version."""

    def commit(name, night, count, version, run, status):
        ledger.commit(name, report_rows(items([f"{night}/{i}" for i in range(count)], version), status, run_id=run))

    commit("1.parquet", "1", 200, "1", "r1", "ok")
    commit("2.parquet", "2", 150, "1", "r2", "unreadable")
    commit("3.parquet", "2", 200, "2", "r3", "ok")
    return ledger.store.uri


def test_a_nights_page_and_its_drift_section_count_the_same_rows(rewritten):
    place = "file:///c/2"
    compared = drift_of_places(rewritten, "d", place, ["file:///c/1"])
    page = summarise(rewritten, PageOptions(below=place), compared)
    assert page["total"]["errors"] == 0
    (errors,) = (one for one in page["drift"]["findings"] if one["measure"] == "error rate")
    assert (errors["said"], errors["alarm"]) == ("0.00% against 0.00%", False)


def test_of_earlier_runs_each_item_counts_once_as_they_left_it(rewritten, ledger, items, report_rows):
    ledger.commit("4.parquet", report_rows(items([f"4/{i}" for i in range(200)]), run_id="r4"))
    found = drift(rewritten, "r4")
    (errors,) = (one for one in found.findings if one.measure == "error rate")
    assert (found.reference, errors.said, errors.alarm) == ("3 earlier runs", "0.00% against 0.00%", False)


@pytest.mark.parametrize(
    ("wanted", "last", "found"),
    [
        (None, True, "beta"),
        ("al", True, "alpha"),
        ("alpha", False, "alpha"),
        (None, False, "has rows of several detectors"),
        ("be", True, "has rows of several detectors"),
        ("c", True, "no rows of the detector c; it has those of beta, alpha, bet"),
    ],
)
def test_a_detector_is_chosen_by_the_beginning_of_its_fingerprint(wanted, last, found):
    there = [{"detector": name} for name in ("beta", "alpha", "bet")]
    if " " not in found:
        assert chosen_detector(there, wanted, "r", last=last) == found
        return
    with pytest.raises(UsageError, match=f"^r has .*{found.removeprefix('has ')}"):
        chosen_detector(there, wanted, "r", last=last)


def test_an_empty_report_has_no_detector():
    with pytest.raises(UsageError, match=r"^r has no rows$"):
        chosen_detector([], None, "r", last=True)
    assert chosen_detector([{"detector": "d"}], None, "r") == "d"
