"""One file of a corpus -> the same without the items that are left out; what stays is as it was, in its order."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.source import open_source
from clipfake.errors import ClipfakeError
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

TAR, PARQUET = ".tar", ".parquet"


@dataclass(frozen=True)
class Container:
    """A file that holds items, and what becomes of them.

    uri : of the file; name : of the output file; keep, drop : names of its members, in the order of the listing
    """

    uri: str
    name: str
    keep: tuple[str, ...]
    drop: tuple[str, ...]


def filter_container(container: Container, out: str) -> int:
    """Writes the output file of a tar or Parquet file into the folder `out`, in one step; returns the items in it.

    Raises ClipfakeError where an item that should be kept is not there any more: the file changed.
    """
    copy = _copy_rows if container.uri.lower().endswith(PARQUET) else _copy_members
    source = open_source(container.uri)
    try:
        with Store(out).writing(container.name) as sink:
            kept = copy(source.file(), sink, container)
            if kept != len(container.keep):
                raise ClipfakeError(
                    f"{uris.shown(container.uri)} holds {kept} of the {len(container.keep)} items to keep: it changed "
                    "since it was scored; score it again"
                )
    except (OSError, pa.ArrowException, tarfile.TarError) as error:
        raise ClipfakeError(f"{uris.shown(container.uri)} cannot be copied: {error}") from error
    finally:
        source.close()
    return kept


def pack_files(files: Iterable[tuple[str, str]], out: str, name: str) -> int:
    """Writes files, given as (uri, member name), into one tar in the folder `out`, in one step; returns how many."""
    written = 0
    with Store(out).writing(name) as sink, tarfile.open(fileobj=sink, mode="w|") as tar:
        for uri, member in files:
            try:
                source = open_source(uri)
            except OSError as error:
                raise ClipfakeError(f"{uris.shown(uri)} cannot be copied: {error}") from error
            try:
                about = tarfile.TarInfo(member)
                about.size = source.size
                tar.addfile(about, source.file())
            finally:
                source.close()
            written += 1
    return written


class Members:
    """Which members of a tar stay: images as decided, and what belongs to images, while one that it belongs to stays.

    A member belongs to the images of its sample, whose names are equal up to the first dot (WebDataset's rule); to one
    of them alone where their names are equal up to the last dot. What belongs to no image stays; AppleDouble files go.

    >>> Members(keep=["a/1.cond.jpg"], drop=["a/1.jpg"]).stays("a/1.cond.json")
    True
    >>> Members(keep=["a/2.jpg"], drop=["a/1.jpg"]).stays("a/1.json")
    False
    """

    def __init__(self, keep: Iterable[str], drop: Iterable[str]) -> None:
        self.keep, self._drop = set(keep), set(drop)
        self._rules = [
            (same, {same(name) for name in self.keep}, {same(name) for name in self._drop}) for same in (_stem, _key)
        ]

    def stays(self, name: str) -> bool:
        """Whether the member of that name stays."""
        if name in self.keep:
            return True
        if name in self._drop or posixpath.basename(name).startswith("._"):
            return False
        for same, keep, drop in self._rules:
            if (mine := same(name)) in keep or mine in drop:
                return mine in keep
        return True


def _copy_members(file: IO[bytes], sink: IO[bytes], container: Container) -> int:
    members, found = Members(container.keep, container.drop), set()
    with tarfile.open(fileobj=file, mode="r:") as tar, tarfile.open(fileobj=sink, mode="w|", format=tar.format) as out:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header of the shard
            if member.name in found or not members.stays(member.name):
                continue
            out.addfile(member, tar.extractfile(member) if member.isreg() else None)
            if member.name in members.keep:
                found.add(member.name)
    return len(found)


def _copy_rows(file: IO[bytes], sink: IO[bytes], container: Container) -> int:
    table = pq.ParquetFile(file)
    drop = np.array([int(number) for number in container.drop], np.int64)
    first = kept = 0
    with pq.ParquetWriter(sink, table.schema_arrow, compression="zstd") as writer:
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            stays = ~np.isin(np.arange(first, first + rows.num_rows), drop)
            first += rows.num_rows
            if stays.any():
                left = rows.filter(pa.array(stays))
                writer.write_table(left)
                kept += left.num_rows
    return kept


def _key(name: str) -> str:
    """A member's name up to the first dot of its last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _stem(name: str) -> str:
    """A member's name up to its last dot."""
    return name.rpartition(".")[0] or name
