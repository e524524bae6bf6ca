"""A folder of stored embeddings, opened for reading."""

import pyarrow.parquet as pq

from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store


def stored_embeddings(place: str) -> Ledger:
    """The embeddings in the folder `place`, with the schema and the footer of its newest file: it has all columns."""
    store = Store(place)
    name = [file.name for file in store.list("") if file.name.endswith(".parquet")][-1]
    schema = pq.read_schema(store.path(name), filesystem=store.filesystem)
    metadata = schema.metadata or {}
    return Ledger(store, "embeddings", schema.remove_metadata(), read_footer(metadata)["encoder"], metadata)
