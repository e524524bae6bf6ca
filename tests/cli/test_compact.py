"""`clipfake compact` says how many files there were and are."""

from typer.testing import CliRunner

from clipfake.cli.app import app


def test_files_before_and_after(ledger, items, report_rows):
    for run in range(3):
        ledger.commit(f"{run}.parquet", report_rows(items([f"{run}/{i}" for i in range(4)])))
    done = CliRunner().invoke(app, ["compact", ledger.store.path(), "--target-mb", "1"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "3 files -> 1; 12 rows rewritten\n"
