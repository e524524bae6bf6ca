"""A folder of embeddings is opened with the columns and the footer of its newest file; newest versions count."""

import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import table_of

from clipfake.errors import UsageError
from clipfake.storage.compaction import compact
from clipfake.storage.embeddings import newest_rows, newest_versions, stored_embeddings
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store


def test_the_newest_file_says_what_there_is(tmp_path):
    for name, columns, key in (("20261101-a", ["item_id"], "old"), ("20261102-b", ["item_id", "declared"], "new")):
        schema = pa.schema([(column, pa.string()) for column in columns])
        schema = schema.with_metadata(footer("embeddings", {"encoder": key, "precision": "fp32"}))
        pq.write_table(pa.table([["x"]] * len(columns), schema=schema), tmp_path / f"{name}.parquet")
    (tmp_path / "_runs").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    found = stored_embeddings(f"file://{tmp_path}")
    assert (found.key, found.schema.names, found.schema.metadata) == ("new", ["item_id", "declared"], None)
    assert read_footer(found.footer)["precision"] == "fp32"
    assert found.dataset().to_table().column("declared").to_pylist() == [None, "x"]  # null where a file lacks it


SCHEMA = embedding_schema(2, "fp16")
ITEMS = st.sets(st.sampled_from(["a", "b", "a\tb", "c"]), min_size=1)
COMMITS = st.lists(st.tuples(ITEMS, st.sampled_from("198")), min_size=1, max_size=5)  # items, and their version then


def _ledger(place: str, commits: list[tuple[set[str], str]]) -> Ledger:
    ledger = Ledger(Store(f"file://{place}"), "embeddings", SCHEMA, "e", footer("embeddings", {"encoder": "e"}))
    for number, commit in enumerate(commits):
        _commit(ledger, number, *commit)
    return ledger


def _commit(ledger: Ledger, number: int, items: set[str], version: str) -> None:
    rows = [(item, view) for item in sorted(items) for view in range(2)]
    item, view = zip(*rows, strict=True)
    columns = {"item_id": item, "uri": item, "version": [version] * len(rows), "view": view}
    columns |= {"status": ["ok"] * len(rows), "embedding": [[0.0, 1.0]] * len(rows)}
    ledger.commit(f"2026110{number}.parquet", table_of(SCHEMA, columns))


@settings(max_examples=25, deadline=None)
@given(COMMITS, st.integers(0, 5))
def test_of_each_item_the_version_counts_that_was_committed_last(commits, merged):
    """Whichever files are merged meanwhile; a version that comes back, or a row twice, is no other version."""
    newest = {item: version for items, version in commits for item in items}
    with tempfile.TemporaryDirectory() as place:
        ledger = _ledger(place, commits[:merged])
        if merged:
            compact(ledger.store.uri)
        for number, commit in list(enumerate(commits))[merged:]:
            _commit(ledger, number, *commit)
        if merged % 2:
            compact(ledger.store.uri)
        found = newest_rows(ledger).to_table(columns=["item_id", "version", "view"]).to_pylist()
        assert {(row["item_id"], row["version"]) for row in found} == set(newest.items())
        rows = sum(2 for items, version in commits for item in items if newest[item] == version)
        assert len(found) == rows
        assert ledger.dataset().to_table().filter(newest_versions(ledger)).num_rows == rows


def test_a_damaged_file_is_named(tmp_path):
    ledger = _ledger(str(tmp_path), [({"a"}, "1"), ({"b"}, "1")])
    damaged = tmp_path / "20261101.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"20261101\.parquet is not a readable Parquet file"):
        newest_versions(ledger)
