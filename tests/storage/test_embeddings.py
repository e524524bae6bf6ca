"""A folder of embeddings is opened with the columns and the footer of its newest file."""

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import footer, read_footer


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
