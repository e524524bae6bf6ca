"""A report folder becomes one table of groups; what cannot is refused in a line, with nothing written."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError
from clipfake.report.group_tables import GROUP_SCHEMA
from clipfake.report.groups import make_groups
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Store


@pytest.fixture
def filled(ledger, items, report_rows):
    """A report of nine items in three groups and one in none, in two files: votes 2:1, 0:3, 1:2, and 1:0 without."""

    def with_votes(names: str, groups: list[str | None], decisions: list[float]) -> pa.Table:
        rows = report_rows(items(list(names)))
        made = {
            "group_id": pa.array(groups, pa.string()),
            "decision": pa.array(decisions),
            "probability": pa.array(1 / (1 + np.exp(-np.array(decisions)))),
            "verdict": pa.array(["fake" if d > 0 else "real" for d in decisions]),
        }
        for name, column in made.items():
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
        return rows

    ledger.commit("a.parquet", with_votes("abcde", ["x", "x", "y", "y", "z"], [1.0, 2.0, -1.0, -2.0, 3.0]))
    ledger.commit("b.parquet", with_votes("fghij", ["x", "y", "z", "z", None], [-1.0, -3.0, -1.0, -1.0, 1.0]))
    return ledger


def test_a_table_with_a_footer(filled, tmp_path):
    summary = make_groups(filled.store.uri, str(tmp_path / "out"), top_k=2)
    table = pq.read_table(tmp_path / "out" / "groups.parquet")
    assert table.schema.remove_metadata() == GROUP_SCHEMA
    footer = read_footer(table.schema.metadata)
    assert (footer["kind"], footer["detector"], footer["top_k"]) == ("groups", "d", "2")
    assert table.select(["group_id", "fake", "verdict", "decision_mean", "decision_top"]).to_pylist() == [
        {"group_id": "x", "fake": 2, "verdict": "fake", "decision_mean": pytest.approx(2 / 3), "decision_top": 1.5},
        {"group_id": "y", "fake": 0, "verdict": "real", "decision_mean": -2.0, "decision_top": -1.5},
        {"group_id": "z", "fake": 1, "verdict": "real", "decision_mean": pytest.approx(1 / 3), "decision_top": 1.0},
    ]
    assert (summary.groups, summary.members, summary.scored) == (3, 9, 9)
    assert summary.verdict == {"fake": 1, "real": 2}
    assert summary.stability == [
        {"members": 1, "groups": 3, "agreement": pytest.approx((2 / 3 + 1 + 2 / 3) / 3)},
        {"members": 2, "groups": 3, "agreement": pytest.approx((1 / 3 + 1 + 1 / 3) / 3)},
    ]
    assert make_groups(filled.store.uri, str(tmp_path / "out")).groups == 3  # it replaces what it made


def test_rows_that_a_compaction_is_swapping_count_once(filled, tmp_path):
    intent = {"target": "b.parquet", "sources": ["a.parquet"]}
    filled.store.write_bytes("_compact/1.json", json.dumps(intent).encode())
    assert make_groups(filled.store.uri, str(tmp_path / "out")).members == 4


def test_of_several_detectors_one_is_chosen(filled, items, report_rows, tmp_path):
    rows = report_rows(items(["a"]), detector="e" * 64)
    at = rows.schema.get_field_index("group_id")
    rows = rows.set_column(at, rows.schema.field(at), pa.array(["x"]))
    replace(filled, key="e" * 64).commit("e.parquet", rows)
    out = str(tmp_path / "out")
    with pytest.raises(UsageError, match="several detectors: give the beginning of the fingerprint"):
        make_groups(filled.store.uri, out)
    with pytest.raises(UsageError, match="no rows of the detector f"):
        make_groups(filled.store.uri, out, "f")
    assert make_groups(filled.store.uri, out, "d").groups == 3
    assert make_groups(filled.store.uri, out, "eee").verdict == {"not scored": 1}


@pytest.mark.parametrize("young", [True, False])
def test_without_a_group_nothing_is_written(ledger, items, report_rows, tmp_path, young):
    rows = report_rows(items(["a"]))
    if not young:
        rows = rows.drop_columns(["group_id", "declared"])
    replace(ledger, schema=rows.schema).commit("a.parquet", rows)
    with pytest.raises(UsageError, match=r"no row of .* has a group_id: list the corpus with"):
        make_groups(ledger.store.uri, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "groups.parquet").exists()


def test_unusable_places(filled, tmp_path):
    with pytest.raises(UsageError, match="holds something else"):
        make_groups(filled.store.uri, filled.store.uri)
    with pytest.raises(UsageError, match="holds no report"):
        make_groups(str(tmp_path / "nothing"), str(tmp_path / "out"))
    with pytest.raises(UsageError, match="--top-k"):
        make_groups(filled.store.uri, str(tmp_path / "out"), top_k=0)


def test_groups_on_an_object_store(filled, s3):
    for name in filled.files():
        Store(f"{s3}/reports").write_bytes(name, filled.store.read_bytes(name))
    assert make_groups(f"{s3}/reports", f"{s3}/groups").groups == 3
    assert Store(f"{s3}/groups").exists("groups.parquet")


def test_the_command(filled, tmp_path):
    run = CliRunner().invoke(app, ["groups", filled.store.path(), "--out", str(tmp_path / "out"), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["verdict"] == {"real": 2, "fake": 1}
    run = CliRunner().invoke(app, ["groups", filled.store.path(), "--out", str(tmp_path / "out")])
    assert "members drawn" in run.stdout and "3 groups of 9 members (9 scored)" in run.stdout
