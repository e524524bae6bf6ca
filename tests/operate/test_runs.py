"""`clipfake runs`: finished runs from their records, open ones from their plans, holders from their claims."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from clipfake.errors import UsageError
from clipfake.operate.runs import FINISHED, OPEN, WRITING, Run, runs
from clipfake.storage.claim import claimed
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import write_record
from clipfake.storage.units import PLAN_FOLDER, UnitWriter, plan_name


@pytest.fixture
def folder(ledger: Ledger, items, report_rows) -> Ledger:
    """One finished run, and one that committed the first of its two units and ended."""
    record = {
        "run_id": "20261101T000000-aaaaaa", "command": "score", "started_at": datetime(2026, 11, 1, tzinfo=UTC),
        "rows": 10, "status": {"ok": 7, "corrupt": 3}, "seconds": {"total": 12.5},
    }  # fmt: skip
    write_record(ledger.store, record["run_id"], record)
    listing = items([str(i) for i in range(7)])
    writer = UnitWriter(ledger.store, "20261102T000000-bbbbbb", listing.schema, 4, 2, dry=False)
    writer.add(listing)
    writer.close()
    about = {"source": "images", "saves": None, "key": "d", "units": 2}
    ledger.store.write_bytes(f"{PLAN_FOLDER}/20261102T000000-bbbbbb/plan.json", json.dumps(about).encode())
    ledger.commit(writer.units[0].name, report_rows(listing.slice(0, 4)))
    return ledger


def test_finished_and_open_runs(folder: Ledger):
    finished, left = runs(folder.store.uri).runs
    assert finished == Run(
        "20261101T000000-aaaaaa", FINISHED, "score", "2026-11-01 00:00:00+00:00", 12.5, rows=10, errors=3
    )
    assert left == Run("20261102T000000-bbbbbb", OPEN, open_items=3)  # the unit of 4 is committed
    further = UnitWriter(
        folder.store, plan_name("20261102T000000-bbbbbb", 1), pa.schema([("item_id", pa.string())]), 4, 2, dry=False
    )
    further.add(pa.table({"item_id": ["x"]}))
    further.close()
    assert runs(folder.store.uri).runs == (finished, replace(left, open_items=4))


def test_who_writes_now(folder: Ledger):
    with claimed(folder.store, "20261103T000000-cccccc"):
        found = runs(folder.store.uri)
    assert [run.state for run in found.runs] == [FINISHED, OPEN, WRITING]
    (holder,) = found.holders
    assert "20261103T000000-cccccc" in holder.name and "pid" in holder.name
    assert not runs(folder.store.uri).holders


def test_a_claim_that_cannot_be_read_is_named(folder: Ledger):
    folder.store.write_bytes("_lock/20261103T000000-cccccc.json", b"{")
    (holder,) = runs(folder.store.uri).holders
    assert holder.name == "20261103T000000-cccccc"


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has no runs"):
        runs(str(tmp_path))
