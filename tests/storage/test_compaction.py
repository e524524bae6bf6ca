"""Compaction changes how rows are stored and nothing else, wherever it is killed."""

import pytest

from clipfake.errors import UsageError
from clipfake.scoring.plan import Planner
from clipfake.storage import compaction
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
    assert filled._metadata(filled.files()[0]) == meta
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
    assert len(filled.files()) == (5 if step == "before the target" else 1)
    assert compact(filled.store.uri).files_after == 1


def test_open_units_are_not_compacted_away(filled, items):
    Planner(filled, []).write("run", items(["new"]).to_reader(), "images", 4, 2)
    with pytest.raises(UsageError, match="still open"):
        compact(filled.store.uri)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(UsageError, match="nothing to compact"):
        compact(str(tmp_path))
