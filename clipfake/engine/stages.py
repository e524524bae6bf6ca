"""What the actors of the pipeline do with a chunk: read and decode, encode, apply the detector."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.fetch import Fetched, FetchOptions, ItemRef, fetch
from clipfake.corpus.store import Store
from clipfake.corpus.text import TextTemplate
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.images.decode import Limits
from clipfake.images.isolation import DecoderPool, Prepared
from clipfake.images.preprocess import Preprocess
from clipfake.report.schema import FACTS
from clipfake.status import Status

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector
    from clipfake.encoder.encoder import Precision
log = logging.getLogger(__name__)

# Columns that only travel inside the pipeline.
UNIT, ROW, PIXELS = "_unit", "_row", "_pixels"
VIEWS = "_views"  # the embeddings of an item's augmented views, one after the other in one fixed-size list
REFUSED = "_refused"  # the only column of what comes instead of rows where the encoder or the detector is unusable
SECONDS = ("_fetch_s", "_decode_s", "_encode_s", "_detect_s")  # each row's share of its chunk's seconds in a stage


class Chunk(TypedDict):
    """What the pipeline is fed: a row group of a unit's item list, and where its first row stands in the unit."""

    path: str
    unit: int
    group: int
    first: int


class Bundle(NamedTuple):
    """Which detector an actor loads, and how: `image_only` scores without the text that it was trained with."""

    place: str
    image_only: bool = False

    def load(self, device: str) -> "_Apply":
        """The detector, ready to score on `device`."""
        from clipfake.detector.bundle import Detector

        detector = Detector.load(Store(self.place))
        return _Apply((detector.without_text() if self.image_only else detector).to(device))


def _read_chunk(store: Store, chunk: pa.Table) -> pa.Table:
    """The chunk's items with their place in the unit."""
    (at,) = chunk.to_pylist()
    with pq.ParquetFile(store.path(at["path"]), filesystem=store.filesystem) as items:
        table = items.read_row_group(at["group"])
    rows = pa.array(np.arange(at["first"], at["first"] + table.num_rows, dtype=np.int32))
    unit = pa.array(np.full(table.num_rows, at["unit"], np.int32))
    return table.append_column(UNIT, unit).append_column(ROW, rows)


def _seconds(table: pa.Table, stage: str, seconds: float) -> pa.Table:
    share = np.full(table.num_rows, seconds / max(table.num_rows, 1), np.float32)
    return table.append_column(stage, pa.array(share))


@dataclass(frozen=True)
class PrepareOptions:
    """What reading and decoding may cost, what the encoder wants, and how many augmented views of each image."""

    fetch: FetchOptions
    limits: Limits
    preprocess: Preprocess
    decoders: int
    views: int = 0


class Prepare:
    """Chunk -> its items with facts and pixels: uint8 (1 + views) x H x W x 3 a row, zeros unless it is ok."""

    def __init__(self, place: str, options: PrepareOptions) -> None:
        self._store = Store(place)
        self._options = options
        self._pool = DecoderPool(options.decoders, options.limits, options.preprocess, options.views)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        table = _read_chunk(self._store, chunk)
        start = time.perf_counter()
        refs = [ItemRef(**row) for row in table.select(["uri", "member", "offset", "size", "version"]).to_pylist()]
        fetched = fetch(refs, self._options.fetch)
        read = time.perf_counter()
        prepared = self._pool.prepare([item.data for item in fetched])
        table = self._with_facts(table, fetched, prepared)
        return _seconds(_seconds(table, "_fetch_s", read - start), "_decode_s", time.perf_counter() - read)

    def _with_facts(self, table: pa.Table, fetched: Sequence[Fetched], prepared: Sequence[Prepared]) -> pa.Table:
        height, width = self._options.preprocess.size
        pixels = np.zeros((len(fetched), 1 + self._options.views, height * width * 3), np.uint8)
        rows: list[tuple[str | int | None, ...]] = []
        for i, (got, image) in enumerate(zip(fetched, prepared, strict=True)):
            if got.data is None:
                rows.append((got.status, got.error, None, None, None, None))
                continue
            digest = hashlib.sha256(got.data).hexdigest()
            rows.append((image.status, image.error, digest, image.width, image.height, image.format))
            if image.pixels is not None:
                pixels[i, 0] = image.pixels.reshape(-1)
            if image.views is not None:
                pixels[i, 1:] = image.views.reshape(len(image.views), -1)
        facts = zip(*rows, strict=True)
        for field, values in zip(FACTS, facts, strict=True):
            table = table.append_column(field, pa.array(values, field.type))
        buffer = pa.py_buffer(pixels)
        return table.append_column(
            PIXELS, pa.Array.from_buffers(pa.binary(pixels[0].nbytes), len(pixels), [None, buffer])
        )


class Encode:
    """Prepared chunk -> the same rows with `embedding` (null unless ok), and the detector's columns where there is one.

    Where an item has augmented views, VIEWS holds theirs; it is ok if all of its vectors are finite.

    detector : the bundle, or None
    keep : whether the embeddings leave the actor
    text : how an item's text is made: adds `text_embedding`, null for an item without a text
    """

    def __init__(
        self,
        encoder: EncoderDescription,
        precision: "Precision",
        device: str,
        threads: int,
        batch_size: int,
        detector: Bundle | None,
        *,
        keep: bool,
        text: TextTemplate | None = None,
    ) -> None:
        import torch

        from clipfake.encoder.encoder import Encoder

        torch.set_num_threads(threads)
        self._keep = keep
        self._refused: str | None = None
        self._template = text
        try:
            self._encoder = Encoder.load(encoder, precision=precision, device=device, batch_size=batch_size)
            if text is not None:
                from clipfake.encoder.text import TextEncoder

                self._texts = TextEncoder.load(encoder, precision=precision, device=device, batch_size=batch_size)
            self._apply = detector.load(device) if detector else None
            if self._apply is not None:
                self._apply.detector.check_encoder(self._encoder.description.fingerprint)
                self._apply.detector.check_test_card(self._encoder.test_card_embedding(), precision)
        except UsageError as error:  # raised here, Ray would start the actor again and again
            self._refused = str(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        if self._refused is not None:
            return pa.table({REFUSED: [self._refused]})
        start = time.perf_counter()
        ok = np.flatnonzero(np.asarray(table["status"].to_pylist()) == Status.OK)
        vectors = self._image_vectors(table[PIXELS].combine_chunks(), ok)
        table = table.drop_columns([PIXELS])
        finite = np.isfinite(vectors).all(axis=(1, 2))
        if self._template is not None:
            texts = self._text_vectors(self._template, table.take(ok))
            finite &= np.isfinite(texts).all(axis=1)
        if not finite.all():
            table = _mark(table, ok[~finite], Status.ENCODER_ERROR, "the encoder gave a vector that is not finite")
        table = _seconds(table, "_encode_s", time.perf_counter() - start)
        if self._apply is not None:
            table = self._apply.to_rows(table, ok[finite], vectors[finite, 0])
        if not self._keep:
            return table
        rows, at, vectors = table.num_rows, ok[finite], vectors[finite]
        table = table.append_column("embedding", _vectors(rows, at, vectors[:, 0]))
        if (views := vectors.shape[1] - 1) > 0:
            others = vectors[:, 1:].reshape(len(vectors), views * vectors.shape[2])
            table = table.append_column(VIEWS, _vectors(rows, at, others))
        if self._template is not None:
            there = finite & texts.any(axis=1)
            table = table.append_column("text_embedding", _vectors(rows, ok[there], texts[there]))
        return table

    def _image_vectors(self, column: pa.Array, ok: np.ndarray) -> np.ndarray:
        """The embeddings (len(ok), 1 + views, D) of the rows `ok` of a column of pixels."""
        height, width = self._encoder.description.preprocess.size
        pixels = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, column.type.byte_width)
        pixels = pixels[column.offset : column.offset + len(column)]
        pixels = pixels if len(ok) == len(pixels) else pixels[ok]
        vectors = self._encoder.encode(pixels.reshape(-1, height, width, 3))
        return vectors.reshape(len(ok), column.type.byte_width // (height * width * 3), vectors.shape[1])

    def _text_vectors(self, template: TextTemplate, rows: pa.Table) -> np.ndarray:
        """The embeddings (rows, D) of the rows' texts, zeros where there is none."""
        texts = template.fill({name: rows[name].to_pylist() for name in template.columns})
        vectors = np.zeros((len(texts), self._texts.dim), self._texts.dtype)
        vectors[[text is not None for text in texts]] = self._texts.encode([text for text in texts if text is not None])
        return vectors


class Detect:
    """Rows with embeddings -> the same rows with the detector's columns (null without an embedding)."""

    def __init__(self, place: str, detector: Bundle, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._store = Store(place)
        self._apply = detector.load(device)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        table = _read_chunk(self._store, chunk)
        start = time.perf_counter()
        needs = self._apply.detector.text
        table = _read_embeddings(table, leave_out=() if needs else ("text_embedding",))
        ok, matrix = _matrix(table["embedding"])
        text = None
        if needs is not None:
            known, text = np.empty(0, np.int64), np.empty((0, needs.dim), np.float32)
            if "text_embedding" in table.column_names:
                known, text = _matrix(table["text_embedding"])
            lacking = np.setdiff1d(ok, known)
            table = _mark(table, lacking, Status.NO_TEXT, "the detector reads text beside the image: it has none")
            matrix, text = matrix[np.isin(ok, known)], text[np.isin(known, ok)]
            ok = np.intersect1d(ok, known)
        vectors = [name for name in ("embedding", "text_embedding") if name in table.column_names]
        table = _seconds(table.drop_columns(vectors), "_fetch_s", time.perf_counter() - start)
        return self._apply.to_rows(table, ok, matrix, text)


@dataclass(frozen=True)
class _Apply:
    detector: "Detector"

    def to_rows(self, table: pa.Table, ok: np.ndarray, vectors: np.ndarray, text: np.ndarray | None = None) -> pa.Table:
        start = time.perf_counter()
        scores = self.detector.score(vectors, text)
        for name, values, kind in (
            ("decision", scores.decision, pa.float64()),
            ("probability", scores.probability, pa.float64()),
            ("verdict", scores.verdict, pa.string()),
            ("unfamiliarity", scores.unfamiliarity, pa.float64()),
        ):
            full = np.full(table.num_rows, None, object)
            full[ok] = values
            table = table.append_column(name, pa.array(full, kind, from_pandas=True))  # NaN is null
        return _seconds(table, "_detect_s", time.perf_counter() - start)


def _mark(table: pa.Table, rows: np.ndarray, status: Status, error: str) -> pa.Table:
    for name, value in (("status", status.value), ("error", error)):
        values = np.asarray(table[name].to_pylist(), object)
        values[rows] = value
        table = table.set_column(
            table.schema.get_field_index(name), table.schema.field(name), pa.array(values, pa.string())
        )
    return table


def _vectors(rows: int, ok: np.ndarray, vectors: np.ndarray) -> pa.Array:
    """A fixed-size list column of `rows` rows, null but at `ok`."""
    full = np.zeros((rows, vectors.shape[1]), vectors.dtype)
    full[ok] = vectors
    missing = np.ones(rows, bool)
    missing[ok] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(full.reshape(-1)), vectors.shape[1], mask=pa.array(missing))


def _matrix(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """(rows that are not null, their vectors as (N, D)) of a fixed-size list column."""
    vectors = column.combine_chunks()
    rows = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
    values = vectors.drop_null().flatten()  # what a null row holds may be null too
    return rows, values.to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)


def _read_embeddings(items: pa.Table, leave_out: Sequence[str] = ()) -> pa.Table:
    """Joins stored rows to a chunk that names them by `source` (an embedding file) and `row` in it."""
    parts = []
    sources = np.asarray(items["source"].to_pylist(), object)
    for source in dict.fromkeys(sources):
        mine = np.flatnonzero(sources == source)
        wanted = items["row"].to_numpy()[mine]
        folder, _, name = source.rpartition("/")
        store = Store(folder)
        with pq.ParquetFile(store.path(name), filesystem=store.filesystem) as file:
            ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
            groups = sorted(set(np.searchsorted(ends, wanted, side="right").tolist()))
            starts = ends - np.diff(ends, prepend=0)
            columns = [name for name in file.schema_arrow.names if name not in leave_out]
            stored = file.read_row_groups(groups, columns=columns)
        # Row numbers in the file -> row numbers among the row groups that were read.
        base = np.concatenate([np.arange(starts[g], ends[g]) for g in groups])
        taken = stored.take(np.searchsorted(base, wanted))
        mine_items = items.take(mine)
        ours = [
            name for name in mine_items.column_names if name not in ("source", "row") and name not in taken.column_names
        ]
        for name in ours:
            taken = taken.append_column(name, mine_items[name])
        parts.append(taken.replace_schema_metadata(None))
    return pa.concat_tables(parts, promote_options="default")  # of files with and without text
