"""Applying a detector to a chunk: in the encoder's actor, or in actors of its own that read stored embeddings."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import ClipfakeError
from clipfake.scoring.timings import with_seconds
from clipfake.scoring.unit_chunks import mark, read_chunk
from clipfake.status import Status
from clipfake.storage.committed import place_of
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.vectors import matrix_of

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector


_READ = {*REPORT_SCHEMA.names, "embedding", "text_embedding"}  # of stored embeddings


class Bundle(NamedTuple):
    """A detector by its name or URI, and the rest as `detector.variants.variant` takes it."""

    place: str
    image_only: bool = False
    decoder: str | None = None

    @classmethod
    def recorded(cls, options: Mapping[str, Any]) -> "Bundle":
        """The one that a run scored with, by the options in its record."""
        return cls(options["detector"], options.get("image_only", False), options.get("decoder"))

    def load(self) -> "Detector":
        """The detector as it scores. Raises UsageError where it is not there, or damaged."""
        from clipfake.detector.named import load_detector
        from clipfake.detector.variants import variant

        return variant(load_detector(self.place), self.image_only, self.decoder)


@dataclass(frozen=True)
class Apply:
    """A loaded detector, applied to the rows of a chunk."""

    detector: "Detector"

    def to_rows(self, table: pa.Table, ok: np.ndarray, vectors: np.ndarray, text: np.ndarray | None = None) -> pa.Table:
        """The table with the detector's columns: of `vectors` (and `text`) in the rows `ok`, null elsewhere."""
        start = time.perf_counter()
        scores = self.detector.score(vectors, text)
        for name in ("decision", "probability", "unfamiliarity"):
            full = np.full(table.num_rows, np.nan)
            full[ok] = getattr(scores, name)
            table = table.append_column(name, pa.array(full, from_pandas=True))  # NaN is null
        verdict = np.full(table.num_rows, None, object)
        verdict[ok] = scores.verdict
        table = table.append_column("verdict", pa.array(verdict, pa.string()))
        return with_seconds(table, "_detect_s", time.perf_counter() - start)


class Detect:
    """Rows with embeddings -> the same rows with the detector's columns (null without an embedding)."""

    def __init__(self, place: str, detector: Bundle, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._store = Store(place)
        self._apply = Apply(detector.load().to(device))

    def __call__(self, chunk: pa.Table) -> pa.Table:
        table = read_chunk(self._store, chunk)
        start = time.perf_counter()
        needs = self._apply.detector.text
        table = read_embeddings(table, leave_out=() if needs else ("text_embedding",))
        ok, matrix = matrix_of(table["embedding"])
        text = None
        if needs is not None:
            known, text = np.empty(0, np.int64), np.empty((0, needs.dim), np.float32)
            if "text_embedding" in table.column_names:
                known, text = matrix_of(table["text_embedding"])
            lacking = np.setdiff1d(ok, known)
            table = mark(table, lacking, Status.NO_TEXT, "the detector reads text beside the image: it has none")
            matrix, text = matrix[np.isin(ok, known)], text[np.isin(known, ok)]
            ok = np.intersect1d(ok, known)
        vectors = [name for name in ("embedding", "text_embedding") if name in table.column_names]
        table = with_seconds(table.drop_columns(vectors), "_fetch_s", time.perf_counter() - start)
        return self._apply.to_rows(table, ok, matrix, text)


def read_embeddings(items: pa.Table, leave_out: Sequence[str] = ()) -> pa.Table:
    """Joins stored rows to a chunk that names them by `source` (an embedding file) and `row` in it.

    Of the stored columns come those that a report or a detector reads, but for `leave_out`.
    """
    parts = []
    sources = items["source"].combine_chunks().dictionary_encode()
    which, wanted_of_all = sources.indices.to_numpy(), items["row"].to_numpy()
    for number, source in enumerate(sources.dictionary.to_pylist()):
        mine = np.flatnonzero(which == number)
        wanted = wanted_of_all[mine]
        folder, _, name = source.rpartition("/")
        store = Store(folder)
        name, first = _place_now(store, name)
        wanted = wanted + first
        with pq.ParquetFile(store.path(name), filesystem=store.filesystem) as file:
            ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
            groups = sorted(set(np.searchsorted(ends, wanted, side="right").tolist()))
            starts = ends - np.diff(ends, prepend=0)
            columns = [name for name in file.schema_arrow.names if name in _READ and name not in leave_out]
            stored = file.read_row_groups(groups, columns=columns)
        # Row numbers in the file -> row numbers among the row groups that were read.
        base = np.concatenate([np.arange(starts[g], ends[g]) for g in groups])
        taken = _take(stored, np.searchsorted(base, wanted))
        mine_items = _take(items, mine)
        if "item_id" in mine_items.column_names and not taken["item_id"].equals(mine_items["item_id"]):
            raise ClipfakeError(f"{store.uri}/{name} holds other items than when this was planned")
        ours = [
            name for name in mine_items.column_names if name not in ("source", "row") and name not in taken.column_names
        ]
        for name in ours:
            taken = taken.append_column(name, mine_items[name])
        parts.append(taken.replace_schema_metadata(None))
    return pa.concat_tables(parts, promote_options="default")  # of files with and without text


def _place_now(store: Store, name: str) -> tuple[str, int]:
    """The file that holds the rows of the file `name`, and the first one's number: it may have been merged since."""
    return (name, 0) if store.exists(name) else place_of(store, name)


def _take(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Those rows, without a copy where they follow one another: so they mostly do."""
    first = int(rows[0])
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return table.slice(first, len(rows))
    return table.take(rows)
