"""Stored embeddings of the test pictures."""

from pathlib import Path

import numpy as np
import pytest

from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
from clipfake.storage.store import Store

ENCODER = "ViT-S-32-alt/untrained"


@pytest.fixture(scope="module")
def stored(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures' embeddings in two files, one row with an error; what is never found: a view, old versions."""
    import pyarrow as pa
    from PIL import Image

    from clipfake.encoder import load
    from clipfake.images.preprocess import preprocess

    encoder = load(ENCODER)
    folder = tmp_path_factory.mktemp("stored")
    ledger = embedding_ledger(Store(f"file://{folder}"), encoder.description, "fp32")
    files = sorted(pictures.iterdir())
    x = encoder.encode(
        np.stack([preprocess(Image.open(f).convert("RGB"), encoder.description.preprocess) for f in files])
    )
    uris = [f"file://{file}" for file in files]
    columns = {
        "item_id": uris,
        "uri": uris,
        "version": ["1"] * 40,
        "label": pa.array([i % 2 for i in range(40)], pa.int8()),
        "generator": [f"g{i % 2}" for i in range(40)],
        "status": ["ok"] * 39 + ["corrupt"],
    }
    nothing = {name: [None] * 40 for name in ledger.schema.names if name not in (*columns, "view", "embedding")}
    rows = pa.table(columns | nothing)
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(x.reshape(-1)), x.shape[1], mask=pa.array([False] * 39 + [True])
    )
    rows = embedding_rows(rows.append_column("embedding", vectors), schema=ledger.schema)
    ledger.commit("a.parquet", rows.slice(0, 25))
    ledger.commit("b.parquet", rows.slice(25))
    view = rows.slice(3, 1).set_column(rows.schema.get_field_index("view"), "view", pa.array([1], pa.int16()))
    ledger.commit("c.parquet", view.cast(ledger.schema))
    old = rows.slice(5, 3).set_column(rows.schema.get_field_index("version"), "version", pa.array(["0"] * 3))
    ledger.commit("0.parquet", old.cast(ledger.schema))
    return folder
