"""The columns of a report and of an embedding file, and what their footers say."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from clipfake import __version__
from clipfake.corpus.manifest import MANIFEST_SCHEMA

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


def footer(kind: str, facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Key-value metadata for a file's footer: `clipfake.kind`, `clipfake.version` and `facts`, JSON unless text."""
    entries = {"kind": kind, "version": __version__, **facts}
    return {
        f"clipfake.{key}".encode(): (value if isinstance(value, str) else json.dumps(value, sort_keys=True)).encode()
        for key, value in entries.items()
    }


def read_footer(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """The `clipfake.` entries of a footer without that prefix."""
    prefix = b"clipfake."
    return {k[len(prefix) :].decode(): v.decode() for k, v in (metadata or {}).items() if k.startswith(prefix)}
