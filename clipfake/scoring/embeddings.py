"""A folder of embeddings: its ledger, and its rows, one for each view of an item."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa

from clipfake.encoder.description import EncoderDescription
from clipfake.scoring.options import EmbedOptions
from clipfake.scoring.unit_chunks import VIEWS, with_columns
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.storage.vectors import filled_matrix


def embedding_ledger(
    store: Store, description: EncoderDescription, precision: str, options: EmbedOptions | None = None
) -> Ledger:
    """The ledger of embeddings in `store`; with a text, the text tower is built once for its hash."""
    options = options or EmbedOptions(description.feature, decoder=description.decoder)
    facts = {
        "encoder": description.fingerprint,
        "encoder_description": description.to_dict(),
        "precision": precision,
        "views": len(options.made),
    }
    if options.conditions:
        facts["conditions"] = [condition.name for condition in options.made]
    text_dim = None
    if options.template is not None:
        from clipfake.encoder import describe_text

        text = describe_text(description)
        text_dim = text.dim
        facts["text"] = {"template": options.template.template, **asdict(text)}
    schema = embedding_schema(description.dim, precision, text_dim)
    return Ledger(store, "embeddings", schema, description.fingerprint, footer("embeddings", facts))


def embedding_rows(items: pa.Table, *, schema: pa.Schema, views: int = 0) -> pa.Table:
    """Pipeline rows, one an item, -> rows of `schema`, 1 + views an item: the image itself, then its views.

    An item without embeddings has all its rows too, so that what replaces one another has the same rows.
    """
    count = 1 + views
    items = with_columns(items, schema.remove(schema.get_field_index("view")))  # of rows that were given up
    view = np.tile(np.arange(count, dtype=np.int16), items.num_rows)
    rows = items
    if views:
        kind = schema.field("embedding").type
        items = with_columns(items, pa.schema([(VIEWS, pa.list_(kind.value_type, kind.list_size * views))]))
        vectors = _together(items, schema.field("embedding").type, views)
        rows = items.drop_columns(["embedding", VIEWS]).take(np.repeat(np.arange(items.num_rows), count))
        rows = rows.append_column("embedding", vectors)
    return rows.append_column("view", pa.array(view)).select(schema.names).cast(schema)


def _together(items: pa.Table, kind: pa.FixedSizeListType, views: int) -> pa.Array:
    """The embeddings of an item and of its views one after the other; null where the status is not ok."""
    own = filled_matrix(items["embedding"])
    others = filled_matrix(items[VIEWS])
    values = np.concatenate([own, others], axis=1).reshape(-1)
    mask = pa.array(np.repeat(items["embedding"].is_null().to_numpy(), 1 + views))
    return pa.FixedSizeListArray.from_arrays(pa.array(values, kind.value_type), kind.list_size, mask=mask)
