"""The job `similar`: images -> the stored items nearest to each, as the folder's own encoder sees them."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError, first_line
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.measures.neighbours import Neighbours
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_versions, stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import kind_of
from clipfake.storage.vectors import matrix_of

BYTES = 2 << 30  # of embeddings held at once; beyond, one part after the other is searched
_LIMITS = Limits()
COLUMNS = ("item_id", "uri", "member", "version", "status", "view", "label", "generator", "embedding")


def similar(
    images: Sequence[str], embeddings: str, top: int = 10, encoder: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """For each image the `top` items of the folder with the highest cosine, best first, as JSON values.

    encoder : where the folder's encoder is found, if not where it was when the embeddings were made

    Raises UsageError for a folder without embeddings, an image that cannot be read, or another encoder.
    """
    if top < 1:
        raise UsageError(f"--top must be at least 1, not {top}")
    ledger = embeddings_in(embeddings)
    queries = _embedded(images, ledger, encoder)
    best: list[list[dict[str, Any]]] = [[] for _ in images]
    seconds, items = {"load": 0.0, "search": 0.0}, 0
    began = time.perf_counter()
    for rows, index in _parts(ledger):
        loaded = time.perf_counter()
        items += len(index)
        for i, query in enumerate(queries):
            found = index.nearest(query, top)
            named = rows.take(found.row).to_pylist()
            mine = [{**row, "cosine": float(cosine)} for row, cosine in zip(named, found.cosine, strict=True)]
            best[i] = sorted(best[i] + mine, key=lambda entry: -entry["cosine"])[:top]
        seconds["load"] += loaded - began
        began = time.perf_counter()
        seconds["search"] += began - loaded
    say(f"{items} items searched: {seconds['load']:.1f} s to load, {seconds['search'] / len(images):.3f} s an image")
    results = [{"image": image, "items": mine} for image, mine in zip(images, best, strict=True)]
    return {"searched": items, "seconds": seconds, "results": results}


def embeddings_in(place: str) -> Ledger:
    """The embeddings in a folder. Raises UsageError where there are none."""
    where = uris.place(place)
    if kind_of(where) != "embeddings":
        raise UsageError(f"{place} holds no embeddings: make some with `clipfake embed`, or `score --save-embeddings`")
    return stored_embeddings(where)


def own_rows(ledger: Ledger) -> pc.Expression:
    """What holds of the rows of images themselves, not of views, as they are now, that have an embedding."""
    return newest_versions(ledger) & (pc.field("status") == "ok") & (pc.field("view") == 0)


def _embedded(images: Sequence[str], ledger: Ledger, encoder: str | None) -> np.ndarray:
    """(Q, D) float64 of length 1."""
    from clipfake.encoder import describe
    from clipfake.encoder import load as load_encoder

    found = read_footer(ledger.footer)
    description = EncoderDescription.from_json(found["encoder_description"])
    if encoder is not None:
        given = describe(encoder, description.feature, description.decoder)
        if given.fingerprint != description.fingerprint:
            raise UsageError(f"{ledger.store.uri} was embedded with {description.name}: {encoder} is another encoder")
        description = given
    blobs = [_bytes(image) for image in images]
    with DecoderPool(1, _LIMITS, description.preprocess, decoder=description.decoder) as pool:
        prepared = pool.prepare(blobs)
    for image, one in zip(images, prepared, strict=True):
        if one.pixels is None:
            raise UsageError(f"{image} cannot be decoded ({one.error}): give an image file")
    # fp16 is for GPUs; what it rounds is less than what the search tells apart.
    precision: Any = "fp32" if found["precision"] == "fp16" else found["precision"]
    model = load_encoder(description, precision=precision, batch_size=min(8, len(images)))
    vectors = model.encode(np.stack([one.pixels for one in prepared if one.pixels is not None])).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _bytes(image: str) -> bytes:
    filesystem, path = uris.filesystem(uris.place(image))
    try:
        with filesystem.open_input_stream(path) as file:
            return bytes(file.read(_LIMITS.max_bytes + 1))
    except OSError as error:
        raise UsageError(f"cannot read {image}: {first_line(error)}") from error


def _parts(ledger: Ledger) -> Iterator[tuple[pa.Table, Neighbours]]:
    """All rows that can be found, in parts of about BYTES of embeddings: their names, and their vectors' index."""
    kind = ledger.schema.field("embedding").type
    most = max(1, BYTES // (kind.list_size * kind.value_type.bit_width // 8))
    names, vectors, rows, own = [], [], 0, own_rows(ledger)
    for name in ledger.files():
        with ledger.open(name) as file:
            for batch in file.iter_batches(batch_size=65_536, columns=list(COLUMNS)):
                table = pa.Table.from_batches([batch]).filter(own)
                names.append(table.select(["item_id", "uri", "member", "label", "generator"]))
                vectors.append(matrix_of(table["embedding"])[1])
                rows += table.num_rows
                if rows >= most:
                    yield pa.concat_tables(names), Neighbours(np.concatenate(vectors))
                    names, vectors, rows = [], [], 0
    if rows:
        yield pa.concat_tables(names), Neighbours(np.concatenate(vectors))
