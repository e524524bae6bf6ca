"""The files that hold committed rows: each row once, whatever a listing meets, and where merged rows lie."""

import pytest

from clipfake.storage import committed
from clipfake.storage.committed import committed_files, data_files, place_of, sources_of
from clipfake.storage.compaction import compact
from clipfake.storage.store import Store


@pytest.fixture
def filled(ledger, items, report_rows):
    for number in range(5):
        ledger.commit(f"{number}.parquet", report_rows(items([f"{number}-{i}" for i in range(3)])))
    return ledger


def test_a_merge_between_listing_and_reading_loses_and_doubles_nothing(filled, monkeypatch):
    """The reader has seen none of the intent, and lists the folder while its files are swapped."""
    real, calls = Store.list, []

    def listing(self, name=""):
        found = real(self, name)
        if name == "" and self.uri == filled.store.uri:
            calls.append(name)
            if len(calls) == 1:
                monkeypatch.setattr(Store, "list", real)
                compact(filled.store.uri)
                monkeypatch.setattr(Store, "list", listing)
        return found

    monkeypatch.setattr(Store, "list", listing)
    assert filled.dataset().count_rows() == 15
    assert len(calls) > 2


def test_a_target_that_is_in_place_stands_for_its_sources(filled, monkeypatch):
    monkeypatch.setattr(Store, "delete", lambda self, name: None)
    compact(filled.store.uri)
    assert len(data_files(filled.store)) == 6
    assert len(committed_files(filled.store)) == 1


def test_an_intent_of_version_0_1_0_whose_target_is_there(filled):
    """Its target says nothing of its sources."""
    filled.store.write_bytes("_compact/x.json", b'{"target": "4.parquet", "sources": ["0.parquet", "1.parquet"]}')
    assert committed_files(filled.store) == ["2.parquet", "3.parquet", "4.parquet"]


def test_rows_are_found_after_one_and_after_two_merges(filled, items, report_rows):
    assert place_of(filled.store, "2.parquet") == ("2.parquet", 0)
    compact(filled.store.uri)
    (first,) = filled.files()
    assert place_of(filled.store, "2.parquet") == (first, 6)
    filled.commit("0-new.parquet", report_rows(items(["new"])))
    compact(filled.store.uri)
    (second,) = filled.files()
    assert place_of(filled.store, "2.parquet") == (second, 7)
    assert place_of(filled.store, first) == (second, 1)
    (file,) = data_files(filled.store)
    assert set(sources_of(filled.store, file)) == {first, "0-new.parquet", *(f"{n}.parquet" for n in range(5))}
    with pytest.raises(FileNotFoundError, match=r"9\.parquet"):
        place_of(filled.store, "9.parquet")


def test_files_that_change_without_end_are_an_error(filled, monkeypatch):
    monkeypatch.setattr(committed, "sources_of", lambda store, file: (_ for _ in ()).throw(FileNotFoundError))
    with pytest.raises(committed.ClipfakeError, match="change faster"):
        committed_files(filled.store)
