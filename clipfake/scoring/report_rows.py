"""The rows of a report, as they are committed. Of few imports: each process that commits starts with them."""

from datetime import UTC, datetime

import pyarrow as pa

from clipfake.scoring.unit_chunks import with_columns
from clipfake.storage.schemas import REPORT_SCHEMA


def report_rows(rows: pa.Table, *, detector: str, run_id: str) -> pa.Table:
    """Pipeline rows -> rows of REPORT_SCHEMA, of that detector and run, scored now."""
    now = pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
    for name, value in (("detector", pa.scalar(detector)), ("run_id", pa.scalar(run_id)), ("scored_at", now)):
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    # Embeddings may be older than some of the columns, and a row that was given up has none of a detector.
    return with_columns(rows, REPORT_SCHEMA).select(REPORT_SCHEMA.names).cast(REPORT_SCHEMA)
