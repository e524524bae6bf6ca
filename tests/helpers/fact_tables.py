"""Tables of items as an audit reads them, each with the facts of a plain file unless said otherwise."""

import pyarrow as pa

from clipfake.storage.schemas import ENCODING, FACTS, MANIFEST_SCHEMA

OLD = [*MANIFEST_SCHEMA, pa.field("view", pa.int16()), *[f for f in FACTS if f.name != "declared"]]
NEW = [*OLD, pa.field("declared", pa.string()), *ENCODING]


def table(rows: list[dict[str, object]], fields=NEW) -> pa.Table:
    base = {"version": "1", "label": 0, "view": 0, "status": "ok", "width": 200, "height": 100, "format": "jpeg",
            "size": 5000, "content_sha256": "c", "metadata": "", "uri": "file:///a.jpg"}  # fmt: skip
    full = [{"item_id": f"i{n}", **base, **row} for n, row in enumerate(rows)]
    return pa.table([pa.array([row.get(f.name) for row in full], f.type) for f in fields], schema=pa.schema(fields))
