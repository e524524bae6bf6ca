"""What is trained on: rows in one order, parted by unit, with augmented views in the training part alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from training_rows import labelled

from clipfake.encoder import describe
from clipfake.errors import UsageError
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, embedding_schema
from clipfake.storage.store import Store
from clipfake.training.dataset import Labelled, read_labelled


def with_views(data: Labelled, views: int) -> Labelled:
    """Each row and so many augmented views of it, beside one another as they are read."""
    rows = np.repeat(np.arange(len(data.y)), 1 + views)
    return replace(data.take(rows), view=np.tile(np.arange(1 + views), len(data.y)))


@pytest.mark.parametrize("split", ["grouped", "source"])
def test_an_items_views_are_in_its_part_or_in_none(split):
    plain = labelled(seed=0, rows=120)
    part, seen = plain.parts(split, 3), with_views(plain, 2).parts(split, 3).reshape(-1, 3)
    assert (seen[:, 0] == part).all()
    assert (seen[part == "train"] == "train").all()
    assert (seen[part != "train"][:, 1:] == "").all()
    assert {"train", "val", "test"} == set(part.tolist())


def test_units_are_whole_and_a_seed_is_one_split():
    data = labelled(seed=0, rows=120)
    part = data.parts("grouped", 3)
    assert all(len(set(part[data.unit == unit])) == 1 for unit in np.unique(data.unit))
    assert part.tolist() == data.parts("grouped", 3).tolist() != data.parts("grouped", 4).tolist()


def test_the_official_split_is_the_column_and_is_needed():
    data = labelled(seed=0, rows=120)
    with pytest.raises(UsageError, match="--split official: the items are not parted"):
        replace(data, facts={"split": np.full(120, None, object)}).parts("official", 0)
    said = np.where(np.arange(120) // 2 % 4 == 0, "test", "train").astype(object)
    part = replace(data, facts={"split": said}).parts("official", 0)
    assert ((part == "test") == (said == "test")).all()


def test_the_digest_is_of_everything_that_is_learned_from():
    data = labelled(seed=0, rows=8)
    changed = [
        replace(data, x=data.x + np.float32(1e-6)),
        replace(data, y=1 - data.y),
        replace(data, unit=data.unit[::-1]),
        replace(data, generator=data.generator[::-1]),
        data.take(np.arange(7)),
        replace(data, text=data.x),
    ]
    assert len({data.digest, *(one.digest for one in changed)}) == 1 + len(changed)
    assert replace(data, left_out={"errors": 3}, facts={"split": data.y}).digest == data.digest
    assert data.take(np.arange(8) >= 0).digest == data.digest


def test_rows_are_taken_with_all_that_belongs_to_them():
    data = replace(labelled(seed=0, rows=6), text=np.arange(6.0), facts={"category": np.array(list("abcdef"), object)})
    some = data.take(np.array([4, 1]))
    assert some.item_id.tolist() == ["file:///00004", "file:///00001"]
    assert (some.text.tolist(), some.facts["category"].tolist()) == ([4.0, 1.0], ["e", "b"])


def test_a_folder_without_embeddings_says_what_to_run(tmp_path):
    pq.write_table(MANIFEST_SCHEMA.empty_table(), tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="holds no embeddings: make some with `clipfake embed"):
        read_labelled(str(tmp_path))


def test_of_a_file_that_changed_the_last_version_alone_counts(tmp_path):
    description = describe("ViT-S-32-alt/untrained")
    schema = embedding_schema(description.dim, "fp32")
    facts = {"encoder": description.fingerprint, "encoder_description": description.to_dict(), "precision": "fp32"}
    for file, items, version in (("a", 4, "1"), ("b", 2, "2")):
        names = [f"file:///{i}" for i in range(items)]
        x = np.full((items, description.dim), float(version), np.float32)
        columns = {
            "item_id": names, "uri": names, "version": [version] * items, "view": [0] * items,
            "label": [i % 2 for i in range(items)], "status": ["ok"] * items, "content_sha256": [version] * items,
            "embedding": list(x),
        }  # fmt: skip
        table = pa.table([pa.array(columns.get(f.name, [None] * items), f.type) for f in schema], schema=schema)
        store = Store(f"file://{tmp_path}")
        ledger = Ledger(store, "embeddings", schema, description.fingerprint, footer("embeddings", facts))
        ledger.commit(f"{file}.parquet", table)
    data = read_labelled(str(tmp_path))
    assert data.item_id.tolist() == [f"file:///{i}" for i in range(4)]
    assert data.x[:, 0].tolist() == [2, 2, 1, 1]
