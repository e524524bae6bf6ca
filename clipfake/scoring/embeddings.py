"""A folder of embeddings: what is computed for each item, and its rows, one for each view of an item."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from clipfake.corpus.captions import TextTemplate, checked
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.feature import PROJECTED, blocks_of
from clipfake.errors import UsageError
from clipfake.images.conditions.augmentation import MAX_VIEWS
from clipfake.images.conditions.conditions import Condition, augmented, choose
from clipfake.images.resize import EXACT, check_decoder
from clipfake.scoring.chunk import VIEWS
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store
from clipfake.storage.vectors import filled_matrix


@dataclass(frozen=True)
class EmbedOptions:
    """What is computed for each item.

    feature : the point of the network, "projected", "penultimate" or "blocks:3,6,9,12"
    text : None, or the column or template that makes the text of an item, as `TextTemplate.parse` reads it
    allow_words : words that texts may have although they can give the label away
    views : augmented views beside the image itself
    decoder : the way from bytes to pixels, "exact" or "fast"
    conditions : names of conditions whose views are made in the place of augmented ones
    """

    feature: str = PROJECTED
    text: str | None = None
    allow_words: tuple[str, ...] = ()
    views: int = 0
    conditions: tuple[str, ...] = ()
    decoder: str = EXACT

    def __post_init__(self) -> None:
        blocks_of(self.feature)
        check_decoder(self.decoder)
        if self.text is not None:
            TextTemplate.parse(self.text)
        elif self.allow_words:
            raise UsageError("--allow-word is about the words of --text; give --text too, or leave it out")
        if not 0 <= self.views <= MAX_VIEWS:
            raise UsageError(f"--views must lie between 0 and {MAX_VIEWS}, not {self.views}")
        if self.conditions:
            choose(self.conditions)

    @property
    def made(self) -> tuple[Condition, ...]:
        """The conditions of the views 1, 2, ... of an item."""
        return choose(self.conditions) if self.conditions else augmented(self.views)

    @property
    def template(self) -> TextTemplate | None:
        """How the text of an item is made, if it is."""
        return None if self.text is None else TextTemplate.parse(self.text)

    def checked(self, listing: Callable[[], pa.RecordBatchReader]) -> Callable[[], pa.RecordBatchReader]:
        """The listing, which raises UsageError where a text gives the label away."""
        template = self.template
        return listing if template is None else lambda: checked(listing, template, self.allow_words)


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
    view = np.tile(np.arange(count, dtype=np.int16), items.num_rows)
    rows = items
    if views:
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
