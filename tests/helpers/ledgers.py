"""Ledgers, items and a detector that tests of several rooms share."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, REPORT_SCHEMA
from clipfake.storage.store import Store

Items = Callable[..., pa.Table]
Rows = Callable[..., pa.Table]


def table_of(schema: pa.Schema, columns: dict[str, Sequence[object]]) -> pa.Table:
    """A table of the schema; columns that are not given are null."""
    rows = len(next(iter(columns.values())))
    filled = {name: columns.get(name, [None] * rows) for name in schema.names}
    return pa.table([pa.array(filled[f.name], f.type) for f in schema], schema=schema)


@pytest.fixture
def items() -> Items:
    """items(names, version="1") -> a listing of as many items."""

    def make(names: Sequence[str], version: str = "1", size: int = 10) -> pa.Table:
        ids = [f"file:///c/{name}" for name in names]
        columns = {"item_id": ids, "uri": ids, "version": [version] * len(ids), "size": [size] * len(ids)}
        return table_of(MANIFEST_SCHEMA, columns)

    return make


@pytest.fixture
def report_rows() -> Rows:
    """report_rows(listing, status="ok", detector="d") -> a report row for each listed item."""

    def make(listing: pa.Table, status: str = "ok", detector: str = "d", run_id: str = "r") -> pa.Table:
        n = listing.num_rows
        own = {name: listing[name].to_pylist() for name in ("item_id", "uri", "member", "version", "size")}
        scored = {"status": [status] * n, "detector": [detector] * n, "run_id": [run_id] * n}
        now = np.full(n, np.datetime64("2026-11-20T00:00:00", "us"))
        return table_of(REPORT_SCHEMA, {**own, **scored, "scored_at": now.tolist()})

    return make


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty report folder for the detector "d"."""
    return Ledger(
        Store(f"file://{tmp_path}/reports"), "report", REPORT_SCHEMA, "d", footer("report", {"detector": "d"})
    )


@pytest.fixture(scope="session")
def warm_ray() -> Iterator[None]:
    """One Ray of two CPUs for all tests of this process that need one."""
    from clipfake.onray.connection import connected

    with connected(2):
        yield


@pytest.fixture
def in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of a few items are done in this process, whatever Ray is up, but for a test that asks for `warm_ray`."""
    from clipfake.scoring import executor, placement

    monkeypatch.setitem(placement.BATCH_SIZE, "cpu", 8)  # a batch is filled up, and the items are few
    if "warm_ray" not in request.fixturenames:
        monkeypatch.setattr(executor, "at_hand", lambda: False)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
