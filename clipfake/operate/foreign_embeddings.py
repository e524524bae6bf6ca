"""Embeddings that other tools wrote, read in batches: clip-retrieval's folders, .npy beside Parquet, Parquet alone."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import UsageError, first_line
from clipfake.operate.options import FOREIGN_LAYOUTS
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

BATCH_ROWS: Final = 16_384
# The columns that are taken for names and for vectors, the first that is there.
NAMES: Final = ("image_path", "item_id", "uri", "path", "filename", "file", "key", "id")
VECTORS: Final = ("embedding", "image_embedding", "clip_embedding", "image_embeddings", "embeddings", "vector")
_CAPTION: Final = "caption"
_FLOATS: Final = (pa.float16(), pa.float32(), pa.float64())


@dataclass(frozen=True)
class Batch:
    """Rows of a part. names : as they stand there; captions : None where there are none; vectors : (rows, D)"""

    names: list[str]
    captions: list[str | None]
    vectors: np.ndarray


@dataclass(frozen=True)
class VectorFile:
    """One file of vectors, with the names of its rows. half : whether they are float16"""

    name: str
    rows: int
    dim: int
    half: bool
    batches: Callable[[], Iterator[Batch]]


def vector_files(place: str, layout: str, names: str | None = None) -> list[VectorFile]:
    """The files of vectors in the folder `place`, in the order of their names; only their headers are read here.

    layout : one of LAYOUTS; names : the column of names, else the first of NAMES

    Raises UsageError where the folder does not have that layout, or a file of vectors and its names do not fit.
    """
    store = Store(uris.place(place))
    found = LAYOUTS[layout](store, names)
    if not found:
        raise UsageError(f"{place} holds no embeddings of the layout {layout}: {_WANTED[layout]}")
    if len({(part.dim, part.half) for part in found}) > 1:
        raise UsageError(f"the files in {place} have vectors of different lengths or types: import them separately")
    return found


def _clip_retrieval(store: Store, names: str | None) -> list[VectorFile]:
    """img_emb/img_emb_N.npy with metadata/metadata_N.parquet."""
    vectors = _by_number(store, "img_emb", "npy")
    tables = _by_number(store, "metadata", "parquet")
    return [_beside(store, file, _partner(tables, number, file), names) for number, file in sorted(vectors.items())]


def _npy(store: Store, names: str | None) -> list[VectorFile]:
    """X.npy beside X.parquet; or one of each, of any name."""
    vectors, tables = (
        [file.name for file in store.list("") if file.name.endswith(end)] for end in (".npy", ".parquet")
    )
    if len(vectors) == len(tables) == 1:
        return [_beside(store, vectors[0], tables[0], names)]
    stems = {name.removesuffix(".parquet"): name for name in tables}
    return [_beside(store, file, _partner(stems, file.removesuffix(".npy"), file), names) for file in vectors]


def _parquet(store: Store, names: str | None) -> list[VectorFile]:
    """Parquet files with a column of names and one of vectors, such as NeMo Curator writes."""
    return [_alone(store, file.name, names) for file in store.list("") if file.name.endswith(".parquet")]


LAYOUTS: Final = dict(zip(FOREIGN_LAYOUTS, (_clip_retrieval, _npy, _parquet), strict=True))
_WANTED: Final = {
    "clip-retrieval": "it wants img_emb/img_emb_0.npy, metadata/metadata_0.parquet and so on",
    "npy": "it wants X.npy with the vectors beside X.parquet with the names of their rows",
    "parquet": "it wants Parquet files with a column of names and one of vectors",
}


def _by_number(store: Store, folder: str, ending: str) -> dict[str, str]:
    matches = [re.fullmatch(rf".*?(\d+)\.{ending}", file.name) for file in store.list(folder)]
    return {f"{int(match[1]):012d}": f"{folder}/{match[0]}" for match in matches if match}


def _partner(tables: dict[str, str], key: str, file: str) -> str:
    if key not in tables:
        raise UsageError(f"{file} has no Parquet file of the same name or number that names its rows")
    return tables[key]


def _beside(store: Store, file: str, table: str, names: str | None) -> VectorFile:
    with _opened(store, file) as stream:
        (rows, dim), kind, _ = _npy_head(stream, file)
    with _table(store, table) as parquet:
        column = _column(parquet.schema_arrow, names, NAMES, table, _is_name)
        captions = _CAPTION in parquet.schema_arrow.names
        if parquet.metadata.num_rows != rows:
            raise UsageError(
                f"{file} has {rows} rows and {table} names {parquet.metadata.num_rows}: they do not belong together"
            )

    def batches() -> Iterator[Batch]:
        with _opened(store, file) as stream, _table(store, table) as parquet:
            _npy_head(stream, file)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[column, *([_CAPTION] if captions else [])]):
                wanted = batch.num_rows * dim * kind.itemsize
                data = stream.read(wanted)
                if len(data) != wanted:
                    raise UsageError(f"{store.uri_of(file)} ends too early: it was not written to its end")
                yield _batch(batch, column, np.frombuffer(data, kind).reshape(-1, dim), table)

    return VectorFile(file, rows, dim, kind.itemsize == 2, batches)


def _alone(store: Store, file: str, names: str | None) -> VectorFile:
    with _table(store, file) as parquet:
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
        column = _column(schema, names, NAMES, file, _is_name)
        vectors = _column(schema, None, VECTORS, file, _is_vector)
        captions = _CAPTION in schema.names
        first = next(parquet.iter_batches(1, columns=[vectors]), None)
    if first is None or not first.num_rows or first[vectors][0].as_py() is None:
        raise UsageError(f"the first row of {file} has no vector: give files whose rows all have one")
    dim = len(first[vectors][0])

    def batches() -> Iterator[Batch]:
        with _table(store, file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[column, vectors, *([_CAPTION] if captions else [])]):
                flat = batch[vectors].flatten()
                if batch[vectors].null_count or len(flat) != batch.num_rows * dim:
                    raise UsageError(f"{file} has rows whose vector is absent or not of length {dim}")
                yield _batch(batch, column, flat.to_numpy(zero_copy_only=False).reshape(-1, dim), file)

    return VectorFile(file, rows, dim, schema.field(vectors).type.value_type == pa.float16(), batches)


def _batch(batch: pa.RecordBatch, column: str, vectors: np.ndarray, file: str) -> Batch:
    if batch[column].null_count:
        raise UsageError(f"the column {column} of {file} has empty rows: name another one with --names")
    captions = batch[_CAPTION].cast(pa.string()).to_pylist() if _CAPTION in batch.schema.names else None
    return Batch(batch[column].cast(pa.string()).to_pylist(), captions or [None] * batch.num_rows, vectors)


def _column(
    schema: pa.Schema, wanted: str | None, known: Sequence[str], file: str, fits: Callable[[pa.DataType], bool]
) -> str:
    fitting = [field.name for field in schema if fits(field.type)]
    found = [name for name in ([wanted] if wanted else known) if name in fitting]
    if not found:
        which = f"column {wanted} that can be used" if wanted else f"column {' or '.join(known)}"
        raise UsageError(f"{file} has no {which}; it has {', '.join(schema.names)}: see --names")
    return found[0]


def _is_name(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and kind.value_type in _FLOATS)


def _npy_head(stream: Any, file: str) -> tuple[tuple[int, int], np.dtype, bool]:
    """Shape and type of a .npy file, whose rows follow in the stream. Nothing in it is ever unpickled."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = readers[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError) as error:
        raise UsageError(f"{file} is no .npy file: {first_line(error)}") from None
    if len(shape) != 2 or fortran or kind.kind != "f" or kind.itemsize > 8:
        raise UsageError(f"{file} holds {kind} of shape {shape}: rows of floating-point vectors are wanted, in C order")
    return (int(shape[0]), int(shape[1])), kind, fortran


def _opened(store: Store, file: str) -> Any:
    return store.filesystem.open_input_stream(store.path(file), buffer_size=1 << 20)


def _table(store: Store, file: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(store.path(file), filesystem=store.filesystem)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{file} is no readable Parquet file: {first_line(error)}") from None
