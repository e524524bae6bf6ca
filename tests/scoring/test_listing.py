"""The items of a job: a corpus is listed anew when it is asked for again, a manifest says how it was made."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from ledgers import table_of

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.scoring.listing import image_listing, reading, stored_listing
from clipfake.scoring.options import ScanOptions
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, embedding_schema
from clipfake.storage.store import Store


@pytest.fixture
def manifest(tmp_path) -> str:
    """A manifest of two items that was made with --columns image=jpg."""
    rows = {"item_id": ["file:///a", "file:///b"], "uri": ["file:///a", "file:///b"], "version": ["1", "1"]}
    table = table_of(MANIFEST_SCHEMA, rows)
    facts = footer("manifest", {"options": json.dumps({"columns": {"image": "jpg"}})})
    (tmp_path / "m").mkdir()
    pq.write_table(table.replace_schema_metadata(facts), tmp_path / "m" / "part-00000.parquet")
    return f"file://{tmp_path}/m"


def test_a_manifest_says_which_column_holds_the_images_unless_the_user_does(manifest, tmp_path):
    assert reading(manifest, ScanOptions()).bytes_column == "jpg"
    assert reading(manifest, ScanOptions(listing=LayoutOptions(columns={"image": "png"}))).bytes_column == "png"
    assert reading(f"file://{tmp_path}", ScanOptions()).bytes_column is None


def test_a_manifest_takes_no_options_of_a_listing(manifest):
    options = ScanOptions(listing=LayoutOptions(columns={"label": "target"}))
    with pytest.raises(UsageError, match="--columns does nothing for a manifest"):
        image_listing(manifest, options, {}, Tally())
    again = image_listing(manifest, ScanOptions(), {}, Tally())
    for _ in range(2):
        assert again().read_all()["item_id"].to_pylist() == ["file:///a", "file:///b"]


def test_a_corpus_is_listed_anew_and_counted_once(tmp_path, pictures):
    for name in ("b.jpg", "a.jpg"):
        shutil.copy(pictures / "00.jpg", tmp_path / name)
    (tmp_path / ".DS_Store").write_bytes(b"")
    tally = Tally()
    again = image_listing(f"file://{tmp_path}", ScanOptions(), {"--out": None}, tally)
    for _ in range(2):
        names = [name.rpartition("/")[2] for name in again().read_all()["item_id"].to_pylist()]
        assert sorted(names) == ["a.jpg", "b.jpg"]
        assert sum(tally.skipped.values()) <= 1


def test_what_is_written_may_not_lie_in_the_corpus(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"lies in the corpus .* give --save-embeddings a place"):
        image_listing(f"file://{tmp_path}", ScanOptions(), {"--save-embeddings": str(tmp_path / "kept")}, Tally())


def test_stored_embeddings_are_listed_by_file_and_row_without_their_views(tmp_path):
    schema = embedding_schema(1, "fp32")
    ledger = Ledger(Store(f"file://{tmp_path}"), "embeddings", schema, "e", {})
    for name, views in (("a", [0, 1, 0]), ("b", [1, 0])):
        n = len(views)
        own = dict.fromkeys(("uri", "version", "status"), ["ok"] * n)
        made = {"item_id": [f"{name}{i}" for i in range(n)], "view": views, **own}
        table = table_of(schema, made | {"embedding": [[0.0]] * n})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = stored_listing(ledger).read_all().to_pylist()
    assert [(row["item_id"], row["source"].rpartition("/")[2], row["row"]) for row in found] == [
        ("a0", "a.parquet", 0), ("a2", "a.parquet", 2), ("b1", "b.parquet", 1),
    ]  # fmt: skip
    table = table_of(schema, {**{name: ["2"] for name in own}, "item_id": ["a0"], "view": [0], "embedding": [[0.0]]})
    pq.write_table(table, tmp_path / "c.parquet")  # the image has changed
    found = stored_listing(ledger).read_all().to_pylist()
    assert [(row["item_id"], row["version"], row["row"]) for row in found] == [
        ("a2", "ok", 2), ("b1", "ok", 1), ("a0", "2", 0),
    ]  # fmt: skip
