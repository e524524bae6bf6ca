"""Embeddings of two classes that overlap, stored as `embed` stores them."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from clipfake.detector.text_input import TextInput
from clipfake.encoder.description import EncoderDescription
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store

ROWS = 900
TEXT = TextInput("a photo of {category}", "t" * 64, 24)


def write_embeddings(
    folder: Path,
    description: EncoderDescription,
    labels: np.ndarray | None = None,
    *,
    views: int = 0,
    text: bool = False,
) -> Path:
    """ROWS embeddings of two classes that overlap, in an order that is not that of their names.

    views : copies of each with a little noise; text : adds one of seven text embeddings, whatever the label, to all
    but three
    """
    random = np.random.default_rng(3)
    y = np.arange(ROWS) % 2 if labels is None else labels
    x = random.normal(size=(ROWS, description.dim)).astype(np.float32)
    x[:, :8] += 0.5 * np.nan_to_num(np.asarray(y, np.float32))[:, None]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    schema = embedding_schema(description.dim, "fp32")
    names = [f"file:///c/{i:04d}.jpg" for i in random.permutation(ROWS)]
    columns = {
        "item_id": names, "uri": names, "version": ["1"] * ROWS, "view": [0] * ROWS, "status": ["ok"] * ROWS,
        "label": [None if v is None else int(v) for v in y], "generator": [f"g{i % 3}" for i in range(ROWS)],
        "content_sha256": [f"{i:064d}" for i in range(ROWS)], "embedding": list(x),
    }  # fmt: skip
    if text:
        captions = random.normal(size=(7, TEXT.dim)).astype(np.float32)
        schema = schema.append(pa.field("text_embedding", pa.list_(pa.float32(), TEXT.dim)))
        columns["text_embedding"] = [captions[i % 7] if i > 2 else None for i in range(ROWS)]
    table = pa.table([pa.array(columns.get(f.name, [None] * ROWS), f.type) for f in schema], schema=schema)
    for view in range(1, views + 1):
        noisy = pa.array(
            list(x + np.float32(0.01) * random.normal(size=x.shape).astype(np.float32)), schema.field("embedding").type
        )
        more = table.slice(0, ROWS).set_column(schema.get_field_index("embedding"), schema.field("embedding"), noisy)
        more = more.set_column(
            schema.get_field_index("view"), schema.field("view"), pa.array([view] * ROWS, pa.int16())
        )
        table = pa.concat_tables([table, more])
    facts = {
        "encoder": description.fingerprint,
        "encoder_description": description.to_dict(),
        "precision": "fp32",
        **({"text": asdict(TEXT)} if text else {}),
    }
    ledger = Ledger(
        Store(f"file://{folder}"), "embeddings", schema, description.fingerprint, footer("embeddings", facts)
    )
    ledger.commit("part.parquet", table)
    return folder
