"""Copies in stored embeddings: views and errors stay out of it, a new manifest says what became of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clipfake.audit.audit import AuditOptions, audit, audit_columns
from clipfake.corpus.manifest import read_manifest
from clipfake.errors import UsageError
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.deduplication import without_copies
from clipfake.training.train import TrainOptions, train

ROWS, DIM = 120, 32


def write(folder: Path, **columns: object) -> Path:
    """ROWS embeddings in half precision: 0 and 1 are one content, 2 and 3 near, 4 an error, 5 has a view, and so on."""
    from clipfake.encoder import describe

    description = describe("ViT-S-32-alt/untrained")
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS + 1, DIM)).astype(np.float16)
    x[1], x[3], x[4] = x[0], x[2] + np.float16(0.01), x[6]
    n = ROWS + 1
    names = [f"file:///c/{i:04}.jpg" for i in range(ROWS)]
    names.append(names[5])
    given = {
        "item_id": names, "uri": names, "version": ["1"] * n, "size": random.integers(4000, 9000, n).tolist(),
        "label": [i % 2 for i in range(ROWS)] + [1], "generator": ["g"] * n, "view": [0] * ROWS + [1],
        "status": ["ok"] * 4 + ["corrupt"] + ["ok"] * (n - 5),
        "content_sha256": [f"{i:064x}" for i in [0, 0, *range(2, n)]],
        "width": [200] * n, "height": [200] * n, "format": ["jpeg"] * n, "metadata": [""] * n, "embedding": list(x),
        **columns,
    }  # fmt: skip
    schema = embedding_schema(DIM, "bf16")
    table = pa.table([pa.array(given.get(f.name, [None] * n), f.type) for f in schema], schema=schema)
    facts = {"encoder": "e", "encoder_description": description.to_dict(), "precision": "bf16", "views": 1}
    Ledger(Store(f"file://{folder}"), "embeddings", schema, "e", footer("embeddings", facts)).commit("a.parquet", table)
    return folder


def rewritten(emb: Path, how: str) -> tuple[dict, list[dict]]:
    out = emb.parent / how
    result = audit(str(emb), AuditOptions(duplicates=how, out=str(out)), lambda total: lambda n: None)
    return result.found, read_manifest(f"file://{out}").to_table().to_pylist()


def test_copies_are_named_dropped_and_grouped(tmp_path):
    group = [None] * (ROWS + 1)
    group[3] = group[10] = "scene"
    emb = write(tmp_path / "emb", group_id=group, split=["train"] * 3 + ["test"] * (ROWS - 2))
    found, kept = rewritten(emb, "drop")
    exact, near = found["duplicates"]["exact"], found["duplicates"]["near"]
    assert exact["with_both_labels"] == [["file:///c/0000.jpg", "file:///c/0001.jpg"]]
    assert (exact["sets"], exact["items"], exact["across_classes_items"], exact["across_splits_items"]) == (1, 2, 2, 0)
    assert (near["sets"], near["items"], near["across_splits_items"]) == (2, 4, 2)
    # One content with both labels goes, both of it; 2 and 3 are near but real and fake; the error stays as it is.
    assert [row["item_id"] for row in kept] == [f"file:///c/{i:04}.jpg" for i in range(2, ROWS)]
    found, rows = rewritten(emb, "group")
    groups = {int(row["item_id"][-8:-4]): row["group_id"] for row in rows}
    assert len(rows) == ROWS and groups[0] == groups[1] != groups[2] == groups[3] == groups[10]
    assert groups[0] is not None and groups[2] != "scene"
    assert all(name is None for i, name in groups.items() if i not in (0, 1, 2, 3, 10))


def test_a_new_manifest_needs_a_new_folder(tmp_path):
    emb = write(tmp_path / "emb")
    with pytest.raises(UsageError, match="new or empty"):
        audit(str(emb), AuditOptions(duplicates="drop", out=str(emb)), lambda total: lambda n: None)
    for wrong in ({"duplicates": "drop"}, {"out": "x"}, {"duplicates": "keep", "out": "x"}, {"sample": -1}):
        with pytest.raises(UsageError):
            AuditOptions(**wrong)


def units(data: Labelled) -> dict[int, str]:
    return {int(name[-8:-4]): unit for name, unit in zip(data.item_id, data.unit, strict=True)}


def test_training_can_drop_or_group_copies_before_the_split(tmp_path):
    data = read_labelled(str(write(tmp_path / "emb")), views=True, facts=("content_sha256",))
    assert len(data.y) == ROWS  # 119 readable and a view
    joined, found = without_copies(data, "group")
    of = units(joined)
    assert of[0] == of[1] != of[2] == of[3] and len(set(of.values())) == found["units"] == ROWS - 3
    part = joined.parts("grouped", 0)
    assert len({part[i] for i in (2, 3)}) == 1 and len(joined.y) == ROWS
    rest, found = without_copies(data, "drop")
    assert found["dropped"] == 2 and sorted(units(rest)) == [i for i in range(2, ROWS) if i != 4]
    assert (rest.item_id == "file:///c/0005.jpg").sum() == 2  # with its view


FAKE = [i % 2 for i in range(ROWS)] + [1]


def test_training_refuses_what_the_encoding_tells(tmp_path):
    emb = write(tmp_path / "emb", format=["png" if fake else "jpeg" for fake in FAKE])
    with pytest.raises(UsageError, match=r"AUC 1\.000 .*most by format .*--allow-shortcuts"):
        train(str(emb), str(tmp_path / "detector"), TrainOptions())
    assert not (tmp_path / "detector").exists()
    result = audit_columns(str(emb))
    result.check(allow_shortcuts=True)
    assert result.described()["shortcuts"]["named"] == "format" and result.described()["refusal"]


def test_little_or_old_data_is_neither_refused_nor_passed_over_in_silence(tmp_path):
    few = audit_columns(str(write(tmp_path / "few", label=[0] * 100 + [1] * 21)))
    assert few.refusal is None and few.found["shortcuts"] is not None
    result = audit_columns(str(write(tmp_path / "fewer", label=[0] * 112 + [1] * 9)))
    assert result.refusal is None and "not judged" in " ".join(result.warnings)
    old = audit_columns(str(write(tmp_path / "old", metadata=[None] * (ROWS + 1))))
    assert "not audited: metadata, declared, jpeg_quality, jpeg_tables" in " ".join(old.warnings)
    with pytest.raises(UsageError, match="no labelled"):
        audit_columns(str(write(tmp_path / "none", label=[None] * (ROWS + 1))))
    with pytest.raises(UsageError, match="neither a manifest nor embeddings"):
        audit(str(tmp_path), AuditOptions(), lambda total: lambda n: None)
