"""Compaction changes how rows are stored and nothing else, wherever it is killed."""

import json
from pathlib import Path

import pytest

from clipfake.errors import ClaimLostError, UsageError
from clipfake.scoring.plan import Planner
from clipfake.storage import compaction
from clipfake.storage.committed import data_files
from clipfake.storage.compaction import compact, finish_compactions
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store


@pytest.fixture
def filled(ledger, items, report_rows) -> Ledger:
    for number in range(5):
        ledger.commit(f"{number}.parquet", report_rows(items([f"{number}-{i}" for i in range(3)])))
    return ledger


def rows(ledger: Ledger) -> list[str]:
    return sorted(ledger.dataset().to_table()["item_id"].to_pylist())


def test_small_files_become_one(filled):
    before, meta = rows(filled), filled._metadata("0.parquet")
    done = compact(filled.store.uri)
    assert (done.files_before, done.files_after, done.rows) == (5, 1, 15)
    assert rows(filled) == before
    after = dict(filled._metadata(filled.files()[0]))
    sources = json.loads(after.pop(b"clipfake.sources"))
    assert after == meta
    assert sources == {f"{n}.parquet": [3 * n, 3] for n in range(5)}
    assert filled.store.list("_compact") == []
    assert compact(filled.store.uri).files_after == 1


def test_files_of_two_detectors_are_not_mixed(filled, items, report_rows):
    other = Ledger(filled.store, "report", filled.schema, "e", footer("report", {"detector": "e"}))
    for name in ("x", "y"):
        other.commit(f"{name}.parquet", report_rows(items([name]), detector="e"))
    assert compact(filled.store.uri).files_after == 2


def test_large_files_are_left_alone(filled, monkeypatch):
    monkeypatch.setattr(compaction, "SMALL_BYTES", 10)
    assert compact(filled.store.uri).files_after == 5


@pytest.mark.parametrize("step", ["before the target", "after the target", "while the sources go"])
def test_killed_at_any_step_our_readers_see_each_row_once(filled, monkeypatch, step):
    before = rows(filled)
    calls = {"delete": 0}
    delete = Store.delete

    class Killed(BaseException):
        pass

    def failing_delete(self, name):
        if name.endswith(".parquet"):
            calls["delete"] += 1
            if calls["delete"] > (2 if step == "while the sources go" else 0):
                raise Killed
        delete(self, name)

    if step == "before the target":
        monkeypatch.setattr(compaction, "_merge", lambda *a: (_ for _ in ()).throw(Killed))
    else:
        monkeypatch.setattr(Store, "delete", failing_delete)
    with pytest.raises(Killed):
        compact(filled.store.uri)
    monkeypatch.undo()
    assert rows(filled) == before
    planner = Planner(filled, [])
    assert planner.ledger.dataset().count_rows() == 15
    finish_compactions(filled.store)
    assert rows(filled) == before
    assert len(filled.files()) == 1
    assert compact(filled.store.uri).files_after == 1


def test_open_units_are_not_compacted_away(filled, items):
    Planner(filled, []).write("run", items(["new"]).to_reader(), "images", 4, 2)
    with pytest.raises(UsageError, match="still open"):
        compact(filled.store.uri)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(UsageError, match="nothing to compact"):
        compact(str(tmp_path))


def test_what_a_run_that_slept_writes_again_after_its_rows_were_merged_is_not_seen(filled, items, report_rows):
    """It passed its check before it slept; a later reader, and one of a second merge, see each row once."""
    before = rows(filled)
    compact(filled.store.uri)
    late = report_rows(items([f"3-{i}" for i in range(3)]))
    filled.commit("3.parquet", late)
    assert rows(filled) == before
    filled.commit("other.parquet", report_rows(items(["new"])))
    compact(filled.store.uri)
    assert rows(filled) == sorted([*before, "file:///c/new"])
    filled.commit("3.parquet", late)
    assert rows(filled) == sorted([*before, "file:///c/new"])
    finish_compactions(filled.store)
    assert not filled.store.exists("3.parquet")
    assert rows(filled) == sorted([*before, "file:///c/new"])


def test_a_merge_that_was_overtaken_while_it_slept_overwrites_itself(filled, monkeypatch):
    """It slept after its last check: whoever took over has finished its intent, under its names."""
    before, write, slept = rows(filled), Store._publish, {}

    def sleeps(self, temporary, path):
        if path.endswith(".parquet") and not slept:
            slept["bytes"], slept["name"] = Path(temporary).read_bytes(), path.rpartition("/")[2]
            raise KeyboardInterrupt
        write(self, temporary, path)

    monkeypatch.setattr(Store, "_publish", sleeps)
    with pytest.raises(KeyboardInterrupt):
        compact(filled.store.uri)
    finish_compactions(filled.store)  # of the run that took over
    assert filled.files() == [slept["name"]]
    filled.store.write_bytes(slept["name"], slept["bytes"])
    assert rows(filled) == before


def test_an_intent_that_comes_after_its_sources_were_merged_otherwise_is_forgotten(filled):
    before = rows(filled)
    compact(filled.store.uri)
    late = {"target": "20260101T000000-aaaaaa-c00000.parquet", "sources": ["1.parquet", "2.parquet"]}
    filled.store.write_bytes("_compact/late.json", json.dumps(late).encode())
    assert rows(filled) == before
    finish_compactions(filled.store)
    assert rows(filled) == before
    assert filled.store.list("_compact") == []


def test_a_compaction_that_lost_its_claim_publishes_and_deletes_nothing(filled, monkeypatch):
    before, read = rows(filled), compaction._row_groups

    def taken(store, *arguments):
        for file in store.list("_lock"):
            store.delete(f"_lock/{file.name}")
        return read(store, *arguments)

    monkeypatch.setattr(compaction, "_row_groups", taken)
    with pytest.raises(ClaimLostError):
        compact(filled.store.uri)
    assert len(filled.files()) == 5
    assert rows(filled) == before


def test_a_retry_into_a_merged_file_keeps_what_it_was_merged_from(filled, items, report_rows):
    compact(filled.store.uri)
    (name,) = filled.files()
    filled.replace(name, report_rows(items(["3-1"]), "corrupt"))
    filled.commit("3.parquet", report_rows(items(["3-1"])))
    assert filled.files() == [name]


def test_an_intent_that_comes_while_its_sources_are_being_deleted_is_forgotten(filled, monkeypatch):
    """Of a run that slept, and saw the sources and the target of its successor's merge side by side."""
    before = rows(filled)
    monkeypatch.setattr(Store, "delete", lambda self, name: None)
    compact(filled.store.uri)
    monkeypatch.undo()
    late = {"target": "20260101T000000-aaaaaa-c00000.parquet", "sources": [f.name for f in data_files(filled.store)]}
    filled.store.write_bytes("_compact/0-late.json", json.dumps(late).encode())
    finish_compactions(filled.store)
    assert rows(filled) == before
    assert len(filled.files()) == 1
