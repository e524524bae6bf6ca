"""DuckDB is opened in bounded memory, and leaves nothing behind."""

from pathlib import Path

import pytest

from clipfake.storage.duckdb import MEMORY, temporary_database


@pytest.mark.parametrize("ordered", [True, False])
def test_it_is_bounded_and_leaves_nothing(ordered, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_database(ordered=ordered) as database:
        ((limit, kept, spill),) = database.execute(
            "SELECT current_setting('memory_limit'), current_setting('preserve_insertion_order'), "
            "current_setting('temp_directory')"
        ).fetchall()
        assert kept is ordered
        assert abs(float(limit.split()[0]) - float(MEMORY.removesuffix("MB")) / 1.048576) < 0.1  # MiB
        assert Path(spill).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
