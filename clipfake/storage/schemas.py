"""The columns of a manifest, of embeddings and of a report."""

import pyarrow as pa

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("version", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("label", pa.int8()),
        pa.field("target", pa.string()),
        pa.field("generator", pa.string()),
        pa.field("category", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("group_id", pa.string()),
        pa.field("split", pa.string()),
    ]
)
# What reading and decoding an item tells about it; the same in both tables.
FACTS = [
    pa.field("status", pa.string(), nullable=False),
    pa.field("error", pa.string()),
    pa.field("content_sha256", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("declared", pa.string()),
]
# How an item was encoded, for the audit; in embeddings only.
ENCODING = [
    pa.field("jpeg_quality", pa.int16()),
    pa.field("jpeg_tables", pa.string()),
    pa.field("metadata", pa.string()),
]
_fact = {field.name: field for field in FACTS}

REPORT_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("version", pa.string(), nullable=False),
        _fact["content_sha256"],
        pa.field("size", pa.int64()),
        _fact["width"],
        _fact["height"],
        _fact["format"],
        _fact["status"],
        _fact["error"],
        _fact["declared"],
        pa.field("group_id", pa.string()),
        pa.field("decision", pa.float64()),
        pa.field("probability", pa.float64()),
        pa.field("verdict", pa.string()),
        pa.field("unfamiliarity", pa.float64()),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("scored_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


def embedding_schema(dim: int, precision: str, text_dim: int | None = None) -> pa.Schema:
    """The manifest's columns, `view`, the facts, how the item was encoded, and `embedding`.

    It is dim x float32 from an fp32 encoder, else x float16. Where texts are embedded too, `text_embedding`: text_dim x
    the same type, null for an item without a text.
    """
    value = pa.float32() if precision == "fp32" else pa.float16()
    view = pa.field("view", pa.int16(), nullable=False)
    text = [] if text_dim is None else [pa.field("text_embedding", pa.list_(value, text_dim))]
    return pa.schema([*MANIFEST_SCHEMA, view, *FACTS, *ENCODING, pa.field("embedding", pa.list_(value, dim)), *text])
