"""Rows of a report have all of its columns, whatever the pipeline knew; what makes them is imported fast."""

import subprocess
import sys

import pyarrow as pa

from clipfake.scoring.report_rows import report_rows
from clipfake.storage.schemas import REPORT_SCHEMA


def test_columns_that_the_pipeline_lacks_are_null_and_each_row_says_who_scored_it(items):
    given = items(["a", "b"])
    given = given.append_column("status", pa.array(["ok", "crashed"])).append_column("decision", pa.array([0.5, None]))
    rows = report_rows(given.append_column("_unit", pa.array(["u", "u"])), detector="d", run_id="r")
    assert rows.schema == REPORT_SCHEMA
    assert rows["item_id"].equals(given["item_id"])
    assert rows["decision"].to_pylist() == [0.5, None]
    assert rows["probability"].null_count == 2
    assert (set(rows["detector"].to_pylist()), set(rows["run_id"].to_pylist())) == ({"d"}, {"r"})
    assert rows["scored_at"].null_count == 0


def test_a_process_that_commits_imports_little():
    """Ray may start one for each unit: torch or pandas in it would take seconds of a core."""
    code = (
        "import sys; import clipfake.scoring.commit, clipfake.scoring.report_rows, clipfake.scoring.embeddings;"
        "print(sorted({'torch', 'pandas', 'duckdb', 'ray', 'sklearn'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
