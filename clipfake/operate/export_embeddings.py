"""`clipfake export`: stored embeddings in the form of another tool, clip-retrieval's .npy and Parquet."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.explore.similar import embeddings_in, own_rows
from clipfake.storage import uri as uris
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store, check_new
from clipfake.storage.vectors import matrix_of

FORMATS: Final = ("clip-retrieval",)
PART_ROWS = 1_000_000  # as clip-retrieval cuts them
_BATCH = 16_384
_COLUMNS: Final = ("item_id", "uri", "member", "version", "status", "view", "caption", "embedding")
METADATA: Final = pa.schema([("image_path", pa.string()), ("caption", pa.string()), ("item_id", pa.string())])


@dataclass(frozen=True)
class Exported:
    """Rows that were written, the others (errors, views, versions that are not there any more), and the files."""

    rows: int
    left_out: int
    parts: int


def export_embeddings(embeddings: str, out: str, form: str = FORMATS[0]) -> Exported:
    """Writes `out`/img_emb/img_emb_N.npy (float16) and `out`/metadata/metadata_N.parquet, N from 0000.

    image_path is the path of a local file, else the item_id. Raises UsageError where there are no embeddings, or `out`
    is not empty.
    """
    if form not in FORMATS:
        raise UsageError(f"--format is one of {', '.join(FORMATS)}, not {form!r}")
    ledger, store = embeddings_in(embeddings), Store(uris.place(out))
    check_new(store)
    own = own_rows(ledger)
    total, all_rows = _counts(ledger, own)
    if not total:
        raise UsageError(f"{embeddings} holds no image that was embedded: there is nothing to export")
    tables = (table.filter(own) for table in _read(ledger, list(_COLUMNS)))
    sizes = [min(PART_ROWS, total - first) for first in range(0, total, PART_ROWS)]
    left: pa.Table | None = None
    for number, size in zip(count(), sizes):
        left = _part(store, f"{number:04d}", size, ledger, left, tables)
    return Exported(total, all_rows - total, len(sizes))


def _part(
    store: Store, number: str, size: int, ledger: Ledger, left: pa.Table | None, tables: Iterator[pa.Table]
) -> pa.Table:
    """Writes `size` rows, of what is `left` and then of `tables`; -> what is left then."""
    dim = ledger.schema.field("embedding").type.list_size
    with ExitStack() as stack:
        vectors = stack.enter_context(store.writing(f"img_emb/img_emb_{number}.npy"))
        metadata = stack.enter_context(store.writing(f"metadata/metadata_{number}.parquet"))
        writer = stack.enter_context(pq.ParquetWriter(metadata, METADATA))
        head = {"descr": "<f2", "fortran_order": False, "shape": (size, dim)}
        np.lib.format.write_array_header_1_0(vectors, head)
        while size:
            table = left if left is not None and left.num_rows else next(tables)
            now, left = table.slice(0, size), table.slice(size)
            _, matrix = matrix_of(now["embedding"])
            vectors.write(np.ascontiguousarray(matrix, "<f2").tobytes())
            writer.write_table(_metadata(now))
            size -= now.num_rows
    assert left is not None
    return left


def _metadata(rows: pa.Table) -> pa.Table:
    names = [
        _path(uri) or item if member is None else item
        for item, uri, member in zip(*(rows[c].to_pylist() for c in ("item_id", "uri", "member")), strict=True)
    ]
    return pa.table([pa.array(names), rows["caption"], rows["item_id"]], schema=METADATA)


def _path(uri: str) -> str | None:
    """The local path of a file, where it is UTF-8."""
    try:
        return uris.to_path(uri).decode() if uris.is_local(uri) else None
    except UnicodeDecodeError:
        return None


def _counts(ledger: Ledger, own: pc.Expression) -> tuple[int, int]:
    """Rows that are exported, and all rows."""
    both = [(t.filter(own).num_rows, t.num_rows) for t in _read(ledger, ["item_id", "version", "status", "view"])]
    return sum(own for own, _ in both), sum(rows for _, rows in both)


def _read(ledger: Ledger, columns: list[str]) -> Iterator[pa.Table]:
    for name in ledger.files():
        with ledger.open(name) as file:
            for batch in file.iter_batches(_BATCH, columns=columns):
                yield pa.Table.from_batches([batch])
