"""Run ids sort by time; records are read oldest first, and one that is damaged hides no other."""

import re
from datetime import UTC, datetime

import pytest

from clipfake import __version__
from clipfake.storage import runs
from clipfake.storage.runs import RUN_FOLDER, new_run_id, read_records, versions, write_record
from clipfake.storage.store import Store


def test_ids_are_a_time_and_something_of_their_own():
    before = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    ids = [new_run_id() for _ in range(50)]
    assert all(re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", one) for one in ids)
    assert len(set(ids)) == 50
    assert before <= min(ids) <= max(ids) <= f"{datetime.now(UTC):%Y%m%dT%H%M%S}-g"


def test_records_are_read_oldest_first_and_without_what_is_no_record(tmp_path, monkeypatch):
    store, heard = Store(f"file://{tmp_path}"), []
    monkeypatch.setattr(runs.log, "warning", lambda text, *values: heard.append(text % values))
    assert read_records(store) == []
    for number in (2, 1, 3):
        write_record(
            store, f"2026110{number}T000000-aaaaaa", {"n": number, "at": datetime(2026, 11, number, tzinfo=UTC)}
        )
    store.write_bytes(f"{RUN_FOLDER}/20261102T000000-bbbbbb.json", b'{"n": ')
    store.write_bytes(f"{RUN_FOLDER}/notes.txt", b"mine")
    assert [record["n"] for record in read_records(store)] == [1, 2, 3]
    assert read_records(store)[0]["at"] == "2026-11-01 00:00:00+00:00"
    assert {line.rsplit("/", 1)[1] for line in heard} == {"20261102T000000-bbbbbb.json is not JSON; left out"}


@pytest.mark.parametrize("name", ["python", "ray", "torch", "pillow", "duckdb"])
def test_what_results_may_depend_on_is_recorded(name):
    assert re.match(r"\d+\.\d+", versions()[name])
    assert versions()["clipfake"] == __version__
