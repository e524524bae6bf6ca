"""The contract's columns: their names and order, what may be null, and the type of a stored embedding."""

import pyarrow as pa
import pytest

from clipfake.storage.schemas import ENCODING, FACTS, MANIFEST_SCHEMA, REPORT_SCHEMA, embedding_schema

MANIFEST = "item_id uri member offset version size label target generator category caption group_id split"
REPORT = (
    "item_id uri member version content_sha256 size width height format status error declared group_id decision "
    "probability verdict unfamiliarity detector run_id scored_at"
)


def test_names_and_their_order():
    assert MANIFEST_SCHEMA.names == MANIFEST.split()
    assert REPORT_SCHEMA.names == REPORT.split()
    own = ["view", *(field.name for field in (*FACTS, *ENCODING))]
    assert embedding_schema(4, "fp32", 2).names == [*MANIFEST.split(), *own, "embedding", "text_embedding"]


def test_what_is_never_null():
    tables = {"manifest": MANIFEST_SCHEMA, "report": REPORT_SCHEMA, "embeddings": embedding_schema(4, "fp32")}
    never = {name: {field.name for field in schema if not field.nullable} for name, schema in tables.items()}
    identity = {"item_id", "uri", "version"}
    assert never == {
        "manifest": identity,
        "report": identity | {"status", "detector", "run_id", "scored_at"},
        "embeddings": identity | {"view", "status"},
    }


def test_a_fact_is_of_one_type_in_both_tables():
    embeddings = embedding_schema(4, "fp32")
    assert all(REPORT_SCHEMA.field(field.name) == embeddings.field(field.name) == field for field in FACTS)


@pytest.mark.parametrize(
    ("precision", "value"), [("fp32", pa.float32()), ("bf16", pa.float16()), ("fp16", pa.float16())]
)
def test_an_embedding_is_a_list_of_fixed_length(precision, value):
    schema = embedding_schema(512, precision, 256)
    assert schema.field("embedding").type == pa.list_(value, 512)
    assert schema.field("text_embedding").type == pa.list_(value, 256)
