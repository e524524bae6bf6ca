"""Committing rows: all at once, under one name, doing it again changes nothing."""

import pyarrow.parquet as pq
import pytest

from clipfake.engine.ledger import Ledger
from clipfake.errors import UsageError
from clipfake.report.schema import REPORT_SCHEMA, footer, read_footer


def test_committed_rows_are_a_plain_parquet_dataset(ledger, items, report_rows):
    ledger.commit("a.parquet", report_rows(items(["1", "2"])))
    ledger.commit("b.parquet", report_rows(items(["3"])))
    assert ledger.dataset().to_table()["item_id"].to_pylist() == [f"file:///c/{i}" for i in (1, 2, 3)]
    assert pq.read_table(ledger.store.path()).num_rows == 3
    assert read_footer(pq.read_schema(ledger.store.path("a.parquet")).metadata)["detector"] == "d"
    assert ledger.count("a.parquet") == 2
    assert ledger.count("c.parquet") is None


def test_a_commit_that_dies_leaves_nothing_that_a_reader_sees(ledger, items, report_rows, monkeypatch):
    monkeypatch.setattr("clipfake.corpus.store.Store._publish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ledger.commit("a.parquet", report_rows(items(["1"])))
    assert ledger.files() == []


def test_replacing_keeps_the_other_rows_and_the_order(ledger, items, report_rows):
    listing = items(["1", "2", "3"])
    ledger.commit("a.parquet", report_rows(listing, "missing"))
    again = report_rows(listing.slice(1, 1), "ok", run_id="later")
    for _ in range(2):  # a unit may be done twice
        ledger.replace("a.parquet", again)
        rows = ledger.dataset().to_table().to_pylist()
        assert [(row["item_id"][-1], row["status"]) for row in rows] == [
            ("1", "missing"),
            ("2", "ok"),
            ("3", "missing"),
        ]
        assert rows[1]["run_id"] == "later"


def test_replacing_goes_by_version_too(ledger, items, report_rows):
    ledger.commit("a.parquet", report_rows(items(["1"], version="old"), "missing"))
    ledger.replace("a.parquet", report_rows(items(["1"], version="new")))
    assert ledger.dataset().to_table()["status"].to_pylist() == ["missing"]


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg"])
def test_a_folder_that_holds_something_else_is_refused(ledger, name):
    ledger.store.write_bytes(name, b"mine")
    with pytest.raises(UsageError, match=name):
        ledger.check()


def test_a_folder_of_another_kind_is_refused(ledger, items, report_rows):
    ledger.commit("a.parquet", report_rows(items(["1"])))
    ledger.check()
    other = Ledger(
        ledger.store, "embeddings", REPORT_SCHEMA, "e", footer("embeddings", {"encoder": "e", "precision": "fp32"})
    )
    with pytest.raises(UsageError, match="holds report, not embeddings"):
        other.check()


def test_foreign_parquet_is_refused(ledger):
    ledger.store.write_bytes("a.parquet", b"PAR1 no")
    with pytest.raises(UsageError, match="not a readable Parquet file"):
        ledger.check()
