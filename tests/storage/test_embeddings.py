"""A folder of embeddings is opened with the columns and the footer of its newest file; newest versions count."""

import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import table_of

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
VERSIONS = st.tuples(st.integers(1, 9), st.integers(8, 12)).map(lambda v: f"{v[0]}-{v[1]}") | st.just("absent")
WRITTEN = st.sets(st.tuples(st.sampled_from(["a", "b", "a\tb", "c"]), VERSIONS), min_size=1, max_size=12)


def _ledger(place: str, files: list[list[tuple[str, str]]], views: int = 2) -> Ledger:
    ledger = Ledger(Store(f"file://{place}"), "embeddings", SCHEMA, "e", footer("embeddings", {"encoder": "e"}))
    for number, written in enumerate(files):
        rows = [(item, version, view) for item, version in written for view in range(views)]
        item, version, view = zip(*rows, strict=True)
        columns = {"item_id": item, "uri": item, "version": version, "view": view, "status": ["ok"] * len(rows)}
        ledger.commit(f"{number}.parquet", table_of(SCHEMA, columns | {"embedding": [[0.0, 1.0]] * len(rows)}))
    return ledger


@settings(max_examples=25, deadline=None)
@given(WRITTEN, st.randoms())
def test_of_each_item_the_version_counts_that_was_modified_last(written, order):
    def modified(version: str) -> tuple[int, str]:
        return int(version.partition("-")[2] or -1), version

    rows = sorted(written)
    order.shuffle(rows)
    newest = {item: max((v for i, v in rows if i == item), key=modified) for item, _ in rows}
    with tempfile.TemporaryDirectory() as place:
        ledger = _ledger(place, [rows[: len(rows) // 2], rows[len(rows) // 2 :]] if len(rows) > 1 else [rows])
        found = newest_rows(ledger).to_table(columns=["item_id", "version", "view"]).to_pylist()
        assert sorted((row["item_id"], row["version"], row["view"]) for row in found) == sorted(
            (item, version, view) for item, version in newest.items() for view in range(2)
        )
        table = ledger.dataset().to_table()
        assert table.filter(newest_versions(ledger)).num_rows == len(found)
