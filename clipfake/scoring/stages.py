"""What the actors that see images do with a chunk: read and decode, encode; or all of it where cores do both."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from clipfake.corpus.captions import TextTemplate
from clipfake.corpus.fetch import Fetched, FetchOptions, ItemRef, fetch
from clipfake.corpus.frames import content_sha256
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import Batch
from clipfake.errors import UsageError
from clipfake.images.conditions.conditions import Condition
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool, Prepared
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import EXACT
from clipfake.scoring.detector_stage import Apply, Bundle
from clipfake.scoring.timings import with_seconds
from clipfake.scoring.unit_chunks import JPEG, PIXELS, REFUSED, VIEWS, mark, read_chunk, single
from clipfake.status import Status
from clipfake.storage.schemas import ENCODING, FACTS
from clipfake.storage.store import Store
from clipfake.storage.vectors import vector_column


@dataclass(frozen=True)
class PrepareOptions:
    """What reading and decoding may cost, what the encoder wants, and the conditions of each image's views.

    for_a_device : JPEGs are checked here and decoded by the encoder's device
    """

    fetch: FetchOptions
    limits: Limits
    preprocess: Preprocess
    decoders: int
    views: tuple[Condition, ...] = ()
    decoder: str = EXACT
    for_a_device: bool = False


class Prepare:
    """Chunks -> their items with facts and pixels: uint8 (1 + views) x H x W x 3 a row, zeros unless it is ok.

    Where a device decodes, with pixels or a JPEG, each null where there is none. CALLS chunks at a time are in hand:
    the bytes of one are read while the other is decoded.
    """

    CALLS: Final = 2

    def __init__(self, place: str, options: PrepareOptions) -> None:
        self._store = Store(place)
        self._options = options
        self._cores = threading.Lock()
        self._pool = DecoderPool(
            options.decoders, options.limits, options.preprocess, options.views, options.decoder,
            for_a_device=options.for_a_device,
        )  # fmt: skip

    def __call__(self, chunks: pa.Table) -> pa.Table:
        made = []
        for chunk in single(chunks):
            items, fetched = self.read(chunk)
            with self._cores:
                made.append(self.decode(items, fetched))
        return pa.concat_tables(made)

    def items(self, table: pa.Table) -> pa.Table:
        """The same for items that are at hand: rows with the manifest's columns."""
        return self.decode(*self._fetched(table))

    def read(self, chunk: pa.Table) -> tuple[pa.Table, list[Fetched]]:
        """The first half: the chunk's items, and their bytes. Several threads at a time may call it."""
        return self._fetched(read_chunk(self._store, chunk))

    def _fetched(self, table: pa.Table) -> tuple[pa.Table, list[Fetched]]:
        start = time.perf_counter()
        refs = [ItemRef(**row) for row in table.select(["uri", "member", "offset", "size", "version"]).to_pylist()]
        fetched = fetch(refs, self._options.fetch)
        return with_seconds(table, "_fetch_s", time.perf_counter() - start), fetched

    def decode(self, table: pa.Table, fetched: Sequence[Fetched]) -> pa.Table:
        """The second half: items and their bytes -> items with facts and pixels."""
        start = time.perf_counter()
        prepared = self._pool.prepare([item.data for item in fetched])
        table = self._with_facts(table, fetched, prepared)
        return with_seconds(table, "_decode_s", time.perf_counter() - start)

    def close(self) -> None:
        """Ends its decoding children."""
        self._pool.close()

    def _with_facts(self, table: pa.Table, fetched: Sequence[Fetched], prepared: Sequence[Prepared]) -> pa.Table:
        rows: list[dict[str, str | int | None]] = []
        for got, image in zip(fetched, prepared, strict=True):
            if got.data is None:
                rows.append({"status": got.status, "error": got.error})
            else:
                rows.append({**vars(image), "content_sha256": content_sha256(got.data)})
        for field in (*FACTS, *ENCODING):
            table = table.append_column(field, pa.array([row.get(field.name) for row in rows], field.type))
        if self._options.for_a_device:
            from clipfake.scoring import handed_over

            pixels, jpegs = handed_over.columns([got.data for got in fetched], prepared)
            return table.append_column(PIXELS, pixels).append_column(JPEG, jpegs)
        return table.append_column(PIXELS, self._pixels(prepared))

    def _pixels(self, prepared: Sequence[Prepared]) -> pa.Array:
        height, width = self._options.preprocess.size
        pixels = np.zeros((len(prepared), 1 + len(self._options.views), height * width * 3), np.uint8)
        for i, image in enumerate(prepared):
            if image.pixels is not None:
                pixels[i, 0] = image.pixels.reshape(-1)
            if image.views is not None:
                pixels[i, 1:] = image.views.reshape(len(image.views), -1)
        return pa.Array.from_buffers(pa.binary(pixels[0].nbytes), len(pixels), [None, pa.py_buffer(pixels)])


class Encode:
    """Prepared chunk -> the same rows with `embedding` (null unless ok), and the detector's columns where there is one.

    Where an item has views, VIEWS holds theirs; it is ok if all of its vectors are finite.

    detector : the bundle, or None
    keep : whether the embeddings leave the actor
    text : how an item's text is made: adds `text_embedding`, null for an item without a text
    jpegs : where JPEGs come too, for its device to decode: what may be spent on one that the device refuses

    CALLS chunks at a time are in hand then: the JPEGs of one are decoded while the other is encoded.
    """

    CALLS: Final = 2

    def __init__(
        self,
        encoder: EncoderDescription,
        precision: Precision,
        device: str,
        threads: int,
        batch_size: int,
        detector: Bundle | None,
        *,
        keep: bool,
        text: TextTemplate | None = None,
        jpegs: Limits | None = None,
    ) -> None:
        import torch

        from clipfake import encoder as encoders

        torch.set_num_threads(threads)
        self._keep = keep
        self._refused: str | None = None
        self._template = text
        self._turn = threading.Lock()
        try:
            self._encoder = encoders.load(encoder, precision=precision, device=device, batch_size=batch_size)
            if jpegs is not None:
                from clipfake.scoring.handed_over import Joiner

                self._joiner = Joiner(self._encoder, jpegs)
            if text is not None:
                self._texts = encoders.load_text(encoder, precision=precision, device=device, batch_size=batch_size)
            self._apply = Apply(detector.load().to(device)) if detector else None
            if self._apply is not None:
                self._apply.detector.check_encoder(self._encoder.description.fingerprint)
                self._apply.detector.check_test_card(self._encoder.test_card_embedding(), precision)
        except UsageError as error:  # raised here, Ray would start the actor again and again
            self._refused = str(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        if self._refused is not None:
            return pa.table({REFUSED: [self._refused]})
        ok = np.flatnonzero(np.asarray(table["status"].to_pylist()) == Status.OK)
        spent: list[float] = []
        if JPEG in table.column_names:
            table, ok, vectors = self._joined_vectors(table, ok, spent)
            table = table.drop_columns([JPEG])
        else:
            start = time.perf_counter()
            vectors = self._image_vectors(table[PIXELS].combine_chunks(), ok)
            spent.append(time.perf_counter() - start)
        with self._turn:
            return self._finished(table.drop_columns([PIXELS]), ok, vectors, sum(spent))

    def _finished(self, table: pa.Table, ok: np.ndarray, vectors: np.ndarray, spent: float) -> pa.Table:
        """The rows with all that follows from the vectors (len(ok), 1 + views, D) of those that are ok.

        spent : seconds that the encoder took for the vectors
        """
        start = time.perf_counter() - spent
        finite = np.isfinite(vectors).all(axis=(1, 2))
        if self._template is not None:
            texts = self._text_vectors(self._template, table.take(ok))
            finite &= np.isfinite(texts).all(axis=1)
        if not finite.all():
            table = mark(table, ok[~finite], Status.ENCODER_ERROR, "the encoder gave a vector that is not finite")
        table = with_seconds(table, "_encode_s", time.perf_counter() - start)
        if self._apply is not None:
            table = self._apply.to_rows(table, ok[finite], vectors[finite, 0])
        if not self._keep:
            return table
        rows, at, vectors = table.num_rows, ok[finite], vectors[finite]
        table = table.append_column("embedding", vector_column(rows, at, vectors[:, 0]))
        if (views := vectors.shape[1] - 1) > 0:
            others = vectors[:, 1:].reshape(len(vectors), views * vectors.shape[2])
            table = table.append_column(VIEWS, vector_column(rows, at, others))
        if self._template is not None:
            there = finite & texts.any(axis=1)
            table = table.append_column("text_embedding", vector_column(rows, ok[there], texts[there]))
        return table

    def _image_vectors(self, column: pa.Array, ok: np.ndarray) -> np.ndarray:
        """The embeddings (len(ok), 1 + views, D) of the rows `ok` of a column of pixels."""
        height, width = self._encoder.description.preprocess.size
        pixels = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, column.type.byte_width)
        pixels = pixels[column.offset : column.offset + len(column)]
        pixels = pixels if len(ok) == len(pixels) else pixels[ok]
        vectors = self._encoder.encode(pixels.reshape(-1, height, width, 3))
        return vectors.reshape(len(ok), column.type.byte_width // (height * width * 3), vectors.shape[1])

    def _joined_vectors(
        self, table: pa.Table, ok: np.ndarray, spent: list[float]
    ) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """The rows, those of them that are still ok, and the embeddings (len(ok), 1, D) of those."""
        from clipfake.encoder.tower_encoder import ahead

        lost: dict[int, Prepared] = {}
        pixels, jpegs = (table[name].combine_chunks() for name in (PIXELS, JPEG))
        batches = ahead(self._joiner.batches(pixels, jpegs, ok, lost), self._encoder.device)
        vectors = self._encoder.encode_batches(self._in_turn(batches, spent))
        for row, image in lost.items():
            table = mark(table, np.array([row]), image.status, image.error or "")
        kept = ~np.isin(ok, list(lost))
        return table, ok[kept], vectors[kept, None]

    def _in_turn(self, batches: Iterator[Batch], spent: list[float]) -> Iterator[Batch]:
        """The batches, each while no other chunk is encoded: it is in use until the next one is asked for.

        spent : gets the seconds of each
        """
        for batch in batches:
            with self._turn:
                start = time.perf_counter()
                yield batch
                spent.append(time.perf_counter() - start)

    def _text_vectors(self, template: TextTemplate, rows: pa.Table) -> np.ndarray:
        """The embeddings (rows, D) of the rows' texts, zeros where there is none."""
        texts = template.fill({name: rows[name].to_pylist() for name in template.columns})
        vectors = np.zeros((len(texts), self._texts.dim), self._texts.dtype)
        vectors[[text is not None for text in texts]] = self._texts.encode([text for text in texts if text is not None])
        return vectors


class PrepareAndEncode:
    """Chunk -> what `Encode` makes of it, by one actor on its own cores: no pixels leave the process.

    CALLS chunks at a time are in hand: one has the cores, first to decode and then to encode, so that neither waits for
    the other's threads; the bytes of the others are read meanwhile.
    """

    CALLS = 3

    def __init__(self, prepare: Callable[[], Prepare], encode: Callable[[], Encode]) -> None:
        self._prepare = prepare()
        try:
            self._encode = encode()
        except BaseException:
            self.close()
            raise
        self._cores = threading.Lock()

    def __call__(self, chunk: pa.Table) -> pa.Table:
        items, fetched = self._prepare.read(chunk)
        with self._cores:
            return self._encode(self._prepare.decode(items, fetched))

    def close(self) -> None:
        """Ends the decoding children."""
        self._prepare.close()
