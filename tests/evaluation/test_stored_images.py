"""The images behind embeddings: those that were asked for, labelled and readable, and read as they were."""

import pyarrow.parquet as pq
import pytest
from ledgers import table_of

from clipfake.corpus.fetch import FetchOptions
from clipfake.errors import UsageError
from clipfake.evaluation.stored_images import images_of, listing
from clipfake.images.decode import Limits
from clipfake.storage.footers import footer
from clipfake.storage.runs import write_record
from clipfake.storage.schemas import MANIFEST_SCHEMA, embedding_schema
from clipfake.storage.store import Store

NAMES = ["a", "b", "corrupt", "unlabelled", "view", "c"]


@pytest.fixture
def embeddings(tmp_path) -> str:
    columns = {
        "item_id": NAMES, "uri": NAMES, "version": ["1"] * 6, "label": [0, 1, 1, None, 1, 0],
        "status": ["ok", "ok", "corrupt", "ok", "ok", "ok"], "view": [0, 0, 0, 0, 1, 0],
        "group_id": ["g", None, None, None, None, None], "content_sha256": list("123456"), "embedding": [[0.0]] * 6,
    }  # fmt: skip
    table = table_of(embedding_schema(1, "bf16"), columns)
    facts = footer("embeddings", {"encoder": "e", "precision": "bf16"})
    pq.write_table(table.replace_schema_metadata(facts), tmp_path / "a.parquet")
    return str(tmp_path)


def test_only_images_that_can_be_read_again_and_judged(embeddings):
    found = images_of(embeddings, [*NAMES, "absent"])
    assert found.rows["item_id"].to_pylist() == ["a", "b", "c"]
    assert (found.y.tolist(), found.precision) == ([0, 1, 0], "bf16")
    assert len(set(found.unit.tolist())) == 3
    assert images_of(embeddings, ["b"]).rows["item_id"].to_pylist() == ["b"]
    batches = listing(found).read_all()
    assert batches.schema == MANIFEST_SCHEMA and batches["item_id"].to_pylist() == ["a", "b", "c"]


def test_they_are_read_as_the_last_embed_read_them(embeddings):
    assert images_of(embeddings, NAMES).limits == Limits()
    store = Store(f"file://{embeddings}")
    for night, command, seconds in ((1, "embed", 3.0), (2, "embed", 7.0), (3, "compact", 9.0)):
        options = {"limits": {"timeout_s": seconds}, "fetch": {"bytes_column": "jpg"}}
        write_record(store, f"2026110{night}T000000-aaaaaa", {"command": command, "options": options})
    found = images_of(embeddings, NAMES)
    assert (found.limits, found.fetch) == (Limits(timeout_s=7.0), FetchOptions(bytes_column="jpg"))


def test_one_class_alone_is_refused(embeddings):
    class Ours:
        def check_encoder(self, fingerprint: str) -> None:
            assert fingerprint == "e"

    images_of(embeddings, NAMES).check(Ours())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there is no fake item to read again in file://"):
        images_of(embeddings, ["a", "c"]).check(Ours())  # type: ignore[arg-type]
