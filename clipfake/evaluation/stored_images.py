"""The images behind stored embeddings, to be read again: where they are, how they were read, what they are labelled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.corpus.fetch import FetchOptions
from clipfake.detector.bundle import Detector
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.images.decode import Limits
from clipfake.measures.split import unit_of
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_rows, stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.runs import read_records
from clipfake.storage.schemas import MANIFEST_SCHEMA


@dataclass(frozen=True)
class StoredImages:
    """The labelled items of `items` that a folder of embeddings has, in its order.

    rows : of MANIFEST_SCHEMA; unit : (N,) of `unit_of`; limits, fetch : as its last run read them
    """

    stored: Ledger
    rows: pa.Table
    unit: np.ndarray
    limits: Limits
    fetch: FetchOptions

    @property
    def encoder(self) -> EncoderDescription:
        return EncoderDescription.from_json(self._footer["encoder_description"])

    @property
    def precision(self) -> str:
        return self._footer["precision"]

    @property
    def y(self) -> np.ndarray:
        """(N,) int64: 0 real, 1 fake."""
        return self.rows["label"].to_numpy().astype(np.int64)

    def check(self, detector: Detector) -> None:
        """Raises UsageError where the detector is of another encoder, or there are no items of a class."""
        detector.check_encoder(self._footer["encoder"])
        for label, name in enumerate(("real", "fake")):
            if not (self.y == label).any():
                raise UsageError(f"there is no {name} item to read again in {self.stored.store.uri}")

    @property
    def _footer(self) -> dict[str, str]:
        return read_footer(self.stored.footer)


def images_of(embeddings: str, items: Sequence[str]) -> StoredImages:
    """The labelled images of a folder of embeddings whose item_id is in `items` and that could be read."""
    stored = stored_embeddings(uris.place(embeddings))
    wanted = pc.field("item_id").isin(pa.array(items, pa.string()))
    only = wanted & (pc.field("view") == 0) & (pc.field("status") == "ok") & pc.field("label").is_valid()
    columns = [*MANIFEST_SCHEMA.names, "content_sha256"]
    rows = newest_rows(stored).scanner(columns=columns, filter=only, **SCAN).to_table()
    unit = map(unit_of, rows["group_id"].to_pylist(), rows["content_sha256"].to_pylist())
    options: dict[str, Any] = next(
        (run["options"] for run in reversed(read_records(stored.store)) if run["command"] == "embed"), {}
    )
    return StoredImages(
        stored,
        rows.select(MANIFEST_SCHEMA.names).cast(MANIFEST_SCHEMA),
        np.array(list(unit), object),
        Limits(**options.get("limits", {})),
        FetchOptions(**options.get("fetch", {})),
    )


def listing(images: StoredImages) -> pa.RecordBatchReader:
    """The items as `embed` takes them."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from images.rows.to_batches()

    return pa.RecordBatchReader.from_batches(MANIFEST_SCHEMA, batches())
