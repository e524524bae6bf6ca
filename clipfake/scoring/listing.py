"""What a job's items are: the images of a corpus or a manifest, or stored embeddings."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.corpus.manifest import list_corpus, manifest_rows, read_manifest
from clipfake.corpus.tally import Tally
from clipfake.options import refuse_idle
from clipfake.scoring.containers import on_nodes
from clipfake.scoring.executor import with_first_stream
from clipfake.scoring.options import MANIFEST, ScanOptions
from clipfake.scoring.sources import Listing
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_versions
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.store import Store, check_apart, kind_of


def image_listing(place: str, options: ScanOptions, written: Mapping[str, str | None], tally: Tally) -> Listing:
    """The items of a manifest or a corpus; what is wrong with the place is said here, before anything is written.

    written : option -> the folder that it names
    tally : counts what of a corpus is no item; complete when the listing has ended
    """
    if kind_of(place) == "manifest":
        idle = ["--columns"] if set(options.listing.columns) - {"image"} else []  # the manifest has the others
        refuse_idle(options, "manifest", MANIFEST, idle)
        manifest = read_manifest(place)
        return lambda: manifest_rows(place, manifest.scanner(**SCAN), options.listing)
    for option, folder in written.items():
        if folder is not None:
            check_apart(place, uris.place(folder), option)

    def again() -> pa.RecordBatchReader:
        tally.clear()
        return list_corpus(place, options.layout, options.listing, tally, on_nodes)

    return with_first_stream(again(), again)


def reading(place: str, options: ScanOptions) -> ScanOptions:
    """The options with the Parquet column that holds the images: as the user says, else as the manifest was made."""
    columns = options.listing.columns
    if kind_of(place) == "manifest":
        path, filesystem = read_manifest(place).files[0], Store(place).filesystem
        made_with = read_footer(pq.read_schema(path, filesystem=filesystem).metadata).get("options", "{}")
        columns = json.loads(made_with).get("columns", {}) | columns
    return replace(options, bytes_column=columns.get("image"))


def stored_listing(stored: Ledger) -> pa.RecordBatchReader:
    """item_id, version and size of stored embeddings, and where each row lies: of images as they are now, no views."""
    columns = ["item_id", "version", "size", "view"]
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("version", pa.string()),
            ("size", pa.int64()),
            ("source", pa.string()),
            ("row", pa.int64()),
        ]
    )

    def batches() -> Any:
        own = newest_versions(stored) & (pc.field("view") == 0)
        for name in stored.files():
            row = 0
            with stored.open(name) as file:
                for batch in file.iter_batches(columns=columns, batch_size=SCAN["batch_size"]):
                    rows = pa.array(np.arange(row, row + batch.num_rows))
                    source = pa.array([stored.store.uri_of(name)] * batch.num_rows)
                    placed = batch.append_column("source", source).append_column("row", rows)
                    kept = pa.Table.from_batches([placed]).filter(own).select(schema.names)
                    yield from kept.cast(schema).to_batches()
                    row += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema, batches())
