"""A folder of stored embeddings, opened for reading; of a file that changed, the newest version counts."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.storage.duckdb import temporary_database
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_MODIFIED = "try_cast(split_part(version, '-', 2) AS BIGINT)"  # a version is `size-mtime_ns`, or a word


def stored_embeddings(place: str) -> Ledger:
    """The embeddings in the folder `place`, with the schema and the footer of its newest file: it has all columns."""
    store = Store(place)
    name = [file.name for file in store.list("") if file.name.endswith(".parquet")][-1]
    schema = pq.read_schema(store.path(name), filesystem=store.filesystem)
    metadata = schema.metadata or {}
    return Ledger(store, "embeddings", schema.remove_metadata(), read_footer(metadata)["encoder"], metadata)


def newest_versions(ledger: Ledger) -> pc.Expression:
    """What holds of the rows of each item's newest version: a file that changed was embedded again, its old rows stay.

    The newest is the one that was modified last. It filters tables and datasets that have item_id and version.
    """
    names = pa.schema([ledger.schema.field(name) for name in ("item_id", "version", "view")])
    # Few items change: those that may have are found by 8 bytes each, and only these are looked at by name.
    query = f"""
        WITH images AS (SELECT item_id, version FROM embeddings WHERE view = 0),
        changed AS (SELECT * FROM images WHERE hash(item_id) IN
            (SELECT hash(item_id) FROM images GROUP BY 1 HAVING count(*) > 1))
        SELECT concat(item_id, chr(10), version) AS key FROM changed
        QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY {_MODIFIED} DESC NULLS LAST, version DESC) > 1"""
    with temporary_database(ordered=False) as database:
        database.register("embeddings", ledger.dataset().replace_schema(names))
        older = database.sql(query).to_arrow_table()["key"]
    if not len(older):
        return pc.scalar(True)
    key = pc.binary_join_element_wise(pc.field("item_id"), pc.field("version"), "\n")
    return ~key.isin(older.combine_chunks())


def newest_rows(ledger: Ledger) -> "pads.Dataset":
    """The committed rows of each item's newest version."""
    return ledger.dataset().filter(newest_versions(ledger))
