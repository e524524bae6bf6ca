"""What sections ask: tallies at the flag that is counted at, and the first items, equal files once."""

import pyarrow.dataset as pads

from clipfake.report.tallies import TALLIES, Question
from clipfake.storage.reports import latest, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA


def test_tallies_and_items(tmp_path, write_rows, row):
    rows = [row(f"{i}", decision=float(i), content_sha256=f"{i // 2}") for i in range(6)]
    write_rows(tmp_path, "a", [*rows, row("bad", status="corrupt")])
    with rows_of(pads.dataset(sorted(tmp_path.glob("*.parquet")), schema=REPORT_SCHEMA)) as every:
        question = Question(latest(every, "d" * 64), [], 3.0, 2)
        (total,) = question.tallies(f"SELECT {TALLIES} FROM $rows")
        shown = question.ranked("decision IS NOT NULL", "decision DESC", 2)
    assert total == {"n": 7, "errors": 1, "scored": 6, "real": 1, "unsure": 1, "fake": 4, "flagged": 3}
    assert [(item["decision"], item["copies"]) for item in shown] == [(5.0, 2), (3.0, 2)]
