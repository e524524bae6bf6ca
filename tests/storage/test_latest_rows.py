"""A report opened in Python: the latest row of each item, the same by Arrow and by DuckDB."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from clipfake.errors import UsageError
from clipfake.storage.footers import footer
from clipfake.storage.latest_rows import latest_rows
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store


def at(hour: int) -> datetime:
    return datetime(2026, 11, 20, hour, 30, 0, 123456, tzinfo=UTC)


def row(item: str, version: str, detector: str, hour: int, verdict: str) -> dict[str, object]:
    return dict.fromkeys(REPORT_SCHEMA.names) | {
        "item_id": item, "uri": item, "version": version, "status": "ok", "verdict": verdict, "detector": detector,
        "run_id": "run", "scored_at": at(hour),
    }  # fmt: skip


@pytest.fixture
def report(tmp_path) -> str:
    ledger = Ledger(Store(f"file://{tmp_path}/reports"), "report", REPORT_SCHEMA, "new1", footer("report", {}))
    rows = [
        row("s3://b/a.jpg", "1", "new1", 1, "real"),
        row("s3://b/a.jpg", "2", "new1", 3, "fake"),
        row("s3://b/c.jpg", "1", "new1", 2, "real"),
        row("s3://b/a.jpg", "1", "old2", 1, "unsure"),
    ]
    ledger.commit("a.parquet", pa.Table.from_pylist(rows, REPORT_SCHEMA))
    return str(tmp_path / "reports")


def test_the_latest_row_of_each_item(report):
    with latest_rows(report) as found:
        assert found.detector == "new1"
        assert [one["detector"] for one in found.detectors] == ["new1", "old2"]
        table = found.table()
        assert table.schema == REPORT_SCHEMA
        rows = sorted(table.to_pylist(), key=lambda one: one["item_id"])
        assert [(one["version"], one["verdict"], one["scored_at"]) for one in rows] == [
            ("2", "fake", at(3)),
            ("1", "real", at(2)),
        ]
        assert found.relation().count("*").fetchall() == [(2,)]
        query = "SELECT item_id FROM items WHERE verdict = $verdict"
        assert found.sql(query, verdict="fake").fetchall() == [("s3://b/a.jpg",)]
        assert found.table(["item_id"], "verdict = 'real'").to_pylist() == [{"item_id": "s3://b/c.jpg"}]
        assert sum(batch.num_rows for batch in found.reader()) == 2


def test_another_detector_by_the_beginning_of_its_fingerprint(report):
    with latest_rows(report, "ol") as found:
        assert found.table(["verdict"]).to_pylist() == [{"verdict": "unsure"}]
    with pytest.raises(UsageError, match="new1, old2"):
        latest_rows(report, "no")


def test_what_is_not_there(report, tmp_path):
    with pytest.raises(UsageError, match="holds no report"):
        latest_rows(str(tmp_path))
    with latest_rows(report) as found, pytest.raises(UsageError, match="no column colour"):
        found.table(["colour"])
