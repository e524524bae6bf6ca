"""The items that a filter keeps as one file: their ids as text or Parquet, or the uids in their names, sorted.

The latter are what DataComp takes: https://github.com/mlfoundations/datacomp, resharder.py
"""

import re
from collections.abc import Callable, Iterable
from typing import IO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

_UID: Final = re.compile(r"([0-9a-f]{32})(?:\.[^./#]*)?$")


def is_list(out: str) -> bool:
    """Whether the name of a place is that of a list, and not of a folder."""
    return out.lower().endswith(tuple(_WRITERS))


def write_list(kept: Iterable[pa.Array], out: str) -> None:
    """Writes the item_ids into the file at a canonical URI, which appears whole or not at all.

    Raises UsageError where a list of uids is asked for and a name does not end in 32 hexadecimal digits.
    """
    folder, _, name = out.rpartition("/")
    write = next(write for suffix, write in _WRITERS.items() if out.lower().endswith(suffix))
    with Store(folder).writing(uris.shown(name)) as sink:
        write(kept, sink)


def _text(kept: Iterable[pa.Array], sink: IO[bytes]) -> None:
    for ids in kept:
        sink.write("".join(f"{item}\n" for item in ids.to_pylist()).encode())


def _parquet(kept: Iterable[pa.Array], sink: IO[bytes]) -> None:
    schema = pa.schema([("item_id", pa.string())])
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for ids in kept:
            writer.write_table(pa.table([ids], schema=schema))


def _uids(kept: Iterable[pa.Array], sink: IO[bytes]) -> None:
    pairs = [_uid(item) for ids in kept for item in ids.to_pylist()]
    np.save(sink, np.sort(np.array(pairs, np.dtype("u8,u8"))))


def _uid(item_id: str) -> tuple[int, int]:
    found = _UID.search(item_id)
    if found is None:
        raise UsageError(f"the name {item_id} holds no uid of 32 hexadecimal digits: let --out end in .txt or .parquet")
    return int(found[1][:16], 16), int(found[1][16:], 16)


_WRITERS: Final[dict[str, Callable[[Iterable[pa.Array], IO[bytes]], None]]] = {
    ".txt": _text, ".parquet": _parquet, ".npy": _uids
}  # fmt: skip
