"""A folder of stored embeddings, opened for reading; of a file that changed, the newest version counts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.storage.committed import data_files, sources_of
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store

if TYPE_CHECKING:
    import pyarrow.dataset as pads


def stored_embeddings(place: str) -> Ledger:
    """The embeddings in the folder `place`, with the schema and the footer of its newest file: it has all columns."""
    store = Store(place)
    name = [file.name for file in store.list("") if file.name.endswith(".parquet")][-1]
    schema = pq.read_schema(store.path(name), filesystem=store.filesystem)
    metadata = schema.metadata or {}
    return Ledger(store, "embeddings", schema.remove_metadata(), read_footer(metadata)["encoder"], metadata)


def newest_versions(ledger: Ledger) -> pc.Expression:
    """What holds of the rows of each item's newest version: a file that changed was embedded again, its old rows stay.

    The newest is the one that was committed last. It filters tables and datasets that have item_id and version.
    """
    names = pa.schema([ledger.schema.field(name) for name in ("item_id", "version", "view")])
    # Few items change: those that may have are found by 8 bytes each, and only these are looked at by name.
    query = """
        WITH images AS (SELECT item_id, version FROM embeddings WHERE view = 0)
        SELECT item_id FROM images WHERE hash(item_id) IN
            (SELECT hash(item_id) FROM images GROUP BY 1 HAVING count(*) > 1)
        GROUP BY 1 HAVING count(DISTINCT version) > 1"""
    with temporary_database(ordered=False) as database:
        database.register("embeddings", ledger.dataset().replace_schema(names))
        try:
            changed = database.sql(query).to_arrow_table()["item_id"].combine_chunks()
        except (duckdb.Error, pa.ArrowException, OSError):
            for name in ledger.files():
                ledger.open(name).close()  # names the file that is damaged
            raise
    if not len(changed):
        return pc.scalar(True)
    commits = sorted(_commits(ledger, changed))
    newest = {item: version for _, item, version in commits}
    older = {f"{item}\n{version}" for _, item, version in commits if version != newest[item]}
    key = pc.binary_join_element_wise(pc.field("item_id"), pc.field("version"), "\n")
    return ~key.isin(pa.array(sorted(older), pa.string()))


def _commits(ledger: Ledger, items: pa.Array) -> Iterator[tuple[tuple[str, int], str, str]]:
    """(When it was committed, item_id, version) of each row of these items.

    Files are named by the time of their runs; a row of a merged file was in the first of its sources.
    """
    store, names = ledger.store, set(ledger.files())
    for file in data_files(store):
        if file.name not in names:
            continue
        sources, at = sources_of(store, file), 0
        with ledger.open(file.name) as opened:
            for batch in opened.iter_batches(columns=["item_id", "version"]):
                for row in pc.indices_nonzero(pc.is_in(batch["item_id"], items)).to_pylist():
                    holds = [name for name, one in sources.items() if one.first <= at + row < one.first + one.rows]
                    when = min([file.name, *holds]), at + row
                    yield when, batch["item_id"][row].as_py(), batch["version"][row].as_py()
                at += batch.num_rows


def newest_rows(ledger: Ledger) -> "pads.Dataset":
    """The committed rows of each item's newest version."""
    return ledger.dataset().filter(newest_versions(ledger))
