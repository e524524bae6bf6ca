"""Committing rows: all at once, under one name, doing it again changes nothing."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.errors import UsageError
from clipfake.scoring.plan import Planner
from clipfake.storage.compaction import compact
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA


def test_committed_rows_are_a_plain_parquet_dataset(ledger, items, report_rows):
    ledger.commit("a.parquet", report_rows(items(["1", "2"])))
    ledger.commit("b.parquet", report_rows(items(["3"])))
    assert ledger.dataset().to_table()["item_id"].to_pylist() == [f"file:///c/{i}" for i in (1, 2, 3)]
    assert pq.read_table(ledger.store.path()).num_rows == 3
    assert read_footer(pq.read_schema(ledger.store.path("a.parquet")).metadata)["detector"] == "d"
    assert ledger.count("a.parquet") == 2
    assert ledger.count("c.parquet") is None


def test_a_commit_that_dies_leaves_nothing_that_a_reader_sees(ledger, items, report_rows, monkeypatch):
    monkeypatch.setattr("clipfake.storage.store.Store._publish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
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


YOUNG = ["unfamiliarity", "declared", "group_id"]


@pytest.fixture
def old(ledger, items, report_rows):
    """The folder with one file, of three rows, from before the columns in YOUNG."""
    rows = report_rows(items(["1", "2", "3"]), "missing").drop_columns(YOUNG)
    before = Ledger(ledger.store, "report", rows.schema, "d", ledger.footer)
    before.commit("a.parquet", rows)
    return ledger


def with_value(rows: pa.Table, value: float) -> pa.Table:
    at = REPORT_SCHEMA.get_field_index("unfamiliarity")
    return rows.set_column(at, REPORT_SCHEMA.field(at), pa.array([value] * rows.num_rows))


def test_a_file_from_before_a_column_is_read_with_nulls_there(old, items, report_rows):
    old.check()
    old.commit("b.parquet", with_value(report_rows(items(["4"])), 0.5))
    assert old.dataset().to_table()["unfamiliarity"].to_pylist() == [None, None, None, 0.5]
    # Its items are known: they are not scored again (missing ones are tried again in their row).
    planner = Planner(old, [])
    planner.write("r", items(["1", "2", "3", "4"]).to_reader(), "images", 10, 10, dry=True)
    assert (planner.counts.done, planner.counts.new, planner.counts.retried) == (1, 0, 3)


def test_a_plain_reader_sees_old_and_new_rows(old, items, report_rows):
    old.commit("b.parquet", with_value(report_rows(items(["4"])), 0.5))
    files = f"'{old.store.path()}/*.parquet'"
    assert duckdb.sql(f"SELECT count(*) FROM {files}").fetchall() == [(4,)]
    by_name = f"read_parquet({files}, union_by_name = true)"
    assert duckdb.sql(f"SELECT unfamiliarity FROM {by_name} ORDER BY item_id").fetchall() == [
        (None,), (None,), (None,), (0.5,),
    ]  # fmt: skip


def test_a_retried_row_gives_an_old_file_the_column(old, items, report_rows):
    old.replace("a.parquet", with_value(report_rows(items(["2"])), 0.25))
    rows = pq.read_table(old.store.path("a.parquet"))
    assert rows.schema.names == REPORT_SCHEMA.names
    assert rows["unfamiliarity"].to_pylist() == [None, 0.25, None]
    assert rows["status"].to_pylist() == ["missing", "ok", "missing"]


def test_compaction_gives_old_files_the_column(old, items, report_rows):
    assert compact(old.store.uri).rows == 3  # a file alone
    for i in range(2):
        old.commit(f"b{i}.parquet", with_value(report_rows(items([f"{4 + i}"])), 0.5))
    compact(old.store.uri)
    (name,) = old.files()
    stored = pq.read_table(old.store.path(name))
    assert stored.schema.names == REPORT_SCHEMA.names
    assert sorted(map(str, stored["unfamiliarity"].to_pylist())) == ["0.5", "0.5"] + ["None"] * 3
    assert compact(old.store.uri).rows == 0


def test_a_damaged_file_is_named_by_whoever_reads_it(ledger, items, report_rows):
    ledger.commit("a.parquet", report_rows(items(["1"])))
    whole = ledger.store.read_bytes("a.parquet")
    ledger.store.write_bytes("a.parquet", whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"a\.parquet is not a readable Parquet file"):
        ledger.open("a.parquet")


def test_what_fails_as_it_did_before_rewrites_no_file(ledger, items, report_rows, monkeypatch):
    listing = items(["1", "2", "3"])
    ledger.commit("a.parquet", report_rows(listing, "missing", run_id="first"))
    written = []
    write = Ledger._write
    monkeypatch.setattr(Ledger, "_write", lambda self, name, *given: written.append(name) or write(self, name, *given))
    ledger.replace("a.parquet", report_rows(listing, "missing", run_id="second"))
    assert written == []
    mixed = pa.concat_tables([report_rows(items(["1"]), "missing", run_id="third"),
                              report_rows(items(["2"]), "denied", run_id="third"),
                              report_rows(items(["3"]), "ok", run_id="third")])  # fmt: skip
    ledger.replace("a.parquet", mixed)
    assert written == ["a.parquet"]
    rows = ledger.dataset().to_table().to_pylist()
    assert [(row["status"], row["run_id"]) for row in rows] == [
        ("missing", "first"),
        ("denied", "third"),
        ("ok", "third"),
    ]
