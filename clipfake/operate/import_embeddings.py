"""`clipfake import`: embeddings that another tool made become a folder of embeddings here, scored without an image."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import list_corpus
from clipfake.encoder import describe
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.operate.foreign_embeddings import Batch, VectorFile, vector_files
from clipfake.operate.options import ImportOptions
from clipfake.scoring.embeddings import embedding_ledger
from clipfake.status import Status
from clipfake.storage import uri as uris
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store, check_new
from clipfake.storage.vectors import parquet_writer, vector_column

COMPARED = 32  # images that are embedded to verify
LEAST_COSINE = 0.99  # float16, another JPEG library or another resize keep more; another encoder or its weights less
_UNIT = 2e-3  # by which float16 may miss the length 1; other rows are brought to it


@dataclass(frozen=True)
class Imported:
    """What was imported. bad : rows without a finite vector; scaled : rows that were not of length 1

    compared, least_cosine : how many images were embedded again, and how alike the least alike is; None: not verified
    """

    rows: int
    bad: int
    scaled: int
    files: int
    encoder: str
    compared: int = 0
    least_cosine: float | None = None


def import_embeddings(place: str, encoder: str, out: str, options: ImportOptions) -> Imported:
    """Writes the folder of embeddings `out`, a file for each of `place`; run again, it writes the same files.

    encoder : what the user says made them, which no test card can show here; its weights are fetched

    An item's version is the beginning of its vector's sha256, so that what was made anew is scored anew. Raises
    UsageError where the vectors have another length than the encoder's, or `verify` finds them of another encoder.
    """
    parts = vector_files(place, options.layout, options.names)
    store, root = Store(uris.place(out)), uris.place(options.root or place)
    described = describe(encoder)
    if described.dim != parts[0].dim:
        raise UsageError(
            f"{place} has vectors of length {parts[0].dim}, {encoder} makes {described.dim}: name their encoder"
        )
    compared, least = _compared(parts, described, options.verify) if options.verify else (0, None)
    files = [f"import-{number:05d}.parquet" for number in range(len(parts))]
    check_new(store, files)
    ledger = embedding_ledger(store, described, "fp16" if parts[0].half else "fp32")
    facts = {"from": uris.place(place), "layout": options.layout, "compared": compared, "least_cosine": least}
    ledger = replace(ledger, footer={**ledger.footer, **footer("embeddings", {"imported": facts})})
    ledger.check()
    counts = np.zeros(3, np.int64)
    for part, file in zip(parts, files, strict=True):
        counts += _write(part, ledger, file, root)
    rows, bad, scaled = counts.tolist()
    return Imported(rows, bad, scaled, len(files), described.name, compared, least)


def _write(part: VectorFile, ledger: Ledger, file: str, root: str) -> np.ndarray:
    """Writes one part; -> rows, rows without a finite vector, and rows that were not of length 1."""
    schema = ledger.schema.with_metadata(dict(ledger.footer))
    counts = np.zeros(3, np.int64)
    with ledger.store.writing(file) as sink, parquet_writer(sink, schema) as writer:
        for batch in part.batches():
            table, bad, scaled = _rows(batch, ledger.schema, root)
            writer.write_table(table.cast(schema))
            counts += (table.num_rows, bad, scaled)
    return counts


def _rows(batch: Batch, schema: pa.Schema, root: str) -> tuple[pa.Table, int, int]:
    kind = schema.field("embedding").type.value_type.to_pandas_dtype()
    vectors = batch.vectors.astype(np.float32)
    length = np.linalg.norm(vectors, axis=1)
    ok = np.flatnonzero(np.isfinite(length) & (length > 0))
    off = ok[np.abs(length[ok] - 1) > _UNIT]
    vectors[off] /= length[off, None]
    stored = vectors.astype(kind)
    items = [_located(root, name) for name in batch.names]
    status = np.full(len(items), Status.ENCODER_ERROR.value, object)
    status[ok] = Status.OK.value
    columns = {
        "item_id": [uris.item_id(*item) for item in items],
        "uri": [uri for uri, _ in items],
        "member": [member for _, member in items],
        "version": [hashlib.sha256(vector.tobytes()).hexdigest()[:16] for vector in stored],
        "caption": batch.captions,
        "view": np.zeros(len(items), np.int16),
        "status": status.tolist(),
        "error": [None if one == "ok" else "its imported vector is zero or not finite" for one in status],
        "embedding": vector_column(len(items), ok, stored[ok]),
    }
    made = [
        columns["embedding"] if field.name == "embedding"
        else pa.array(columns[field.name], field.type) if field.name in columns
        else pa.nulls(len(items), field.type)
        for field in schema
    ]  # fmt: skip
    return pa.table(made, schema=schema), len(items) - len(ok), len(off)


def _located(root: str, name: str) -> tuple[str, str | None]:
    """URI and member of what a row is called: an item_id, a URI, a full path, or a name below `root`."""
    if "://" in name:
        uri, member = uris.split_item_id(name)
        return uris.place(uri), member
    return (uris.from_path(name) if name.startswith("/") else uris.join(root, name)), None


# Verification -----------------------------------------------------------------------------------------------------


def _compared(parts: Sequence[VectorFile], encoder: EncoderDescription, images: str) -> tuple[int, float]:
    """How many of the images were found among the rows, and the least cosine of theirs and their own embeddings."""
    from clipfake.scoring.few_images import load_encoder

    found = dict(_matches(parts, _some(images)))
    if not found:
        raise UsageError(f"none of the images in {images} is named in the embeddings: give --verify some of those")
    places = list(found)
    with load_encoder(encoder.name, precision="fp32") as own:
        made = own.encode(places).astype(np.float64)
    theirs = np.stack([found[place] for place in places]).astype(np.float64)
    read = np.isfinite(made).all(axis=1)
    if not read.any():
        raise UsageError(f"none of the {len(places)} images in {images} that are named can be read")
    lengths = np.linalg.norm(made[read], axis=1) * np.linalg.norm(theirs[read], axis=1)
    least = float(((made[read] * theirs[read]).sum(axis=1) / lengths).min())
    if not least >= LEAST_COSINE:
        raise UsageError(
            f"these embeddings are not of {encoder.name}: an image's own has a cosine of {least:.4f} with the one that "
            f"is stored for it, less than {LEAST_COSINE}; name the encoder that made them"
        )
    return int(read.sum()), least


def _some(images: str) -> list[str]:
    """The URIs of the first COMPARED images of a folder."""
    found: list[str] = []
    for batch in list_corpus(uris.place(images), "images", LayoutOptions()):
        found += batch["uri"].to_pylist()
        if len(found) >= COMPARED:
            break
    return found[:COMPARED]


def _matches(parts: Sequence[VectorFile], images: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Image and vector of each image that a row names: the one name ends with the other, extensions left out."""
    left = {_key(uris.shown(uri)): uri for uri in images}
    by_stem: dict[str, list[tuple[str, ...]]] = {}
    for key in left:
        by_stem.setdefault(key[-1], []).append(key)
    for part in parts:
        for batch in part.batches():
            for name, vector in zip(batch.names, batch.vectors, strict=True):
                key = _key(uris.shown(name) if "://" in name else name)
                for image in by_stem.get(key[-1], ()):
                    shorter = min(len(key), len(image))
                    if image in left and key[-shorter:] == image[-shorter:]:
                        yield left.pop(image), vector
            if not left:
                return


def _key(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.partition("://")[2] or name)
    return tuple(part for part in path.with_name(os.path.splitext(path.name)[0]).parts if part != "/")  # noqa: PTH122
