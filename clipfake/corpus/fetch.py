"""Fetching the bytes of listed items: files, tar members, Parquet rows and videos; what cannot be read is a status."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from clipfake.corpus.frames import Frame, moment_of
from clipfake.corpus.source import Source, open_source
from clipfake.errors import UsageError, one_line
from clipfake.status import Status
from clipfake.storage import uri as uris
from clipfake.storage.retries import retried

if TYPE_CHECKING:
    from clipfake.corpus.parquet_bytes import StoredRow

log = logging.getLogger(__name__)

MAX_BYTES = 64 << 20  # of an item, unless the user says otherwise
_JOB_ROWS = 16  # rows that one thread takes at once: one alone is a small piece, and a container is opened for each
_GIVE_UP_AFTER = 32  # failures in a row, each after all its retries, after which a store counts as down for this call
_PAUSE_S = 0.1
_DENIED = ("AWS Error ACCESS_DENIED", "PERMISSION_DENIED", "UNAUTHENTICATED")


@dataclass(frozen=True, slots=True)
class ItemRef:
    """What a manifest row says of where its bytes are. A tar member has its own size and its container's version."""

    uri: str
    member: str | None
    offset: int | None
    size: int | None
    version: str


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """max_bytes: an item with more is too_large. retries: further tries after an I/O error. threads: reads at a time.

    bytes_column: the Parquet column of the images, where the manifest was made with one.
    """

    max_bytes: int = MAX_BYTES
    retries: int = 3
    threads: int = 8
    bytes_column: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of an item, or why there are none (status and a reason)."""

    data: bytes | Frame | None
    status: Status
    error: str | None = None
    etag: str | None = None


def fetch(rows: Sequence[ItemRef], options: FetchOptions | None = None) -> list[Fetched]:
    """The bytes of each row, in the rows' order. Never raises for an item.

    I/O errors are tried again with exponential backoff and jitter. Where remote reads fail for many rows on end, the
    remote rows left in this call are `unreadable` at once: they may pass another time.
    """
    return _Fetch(rows, options or FetchOptions()).run()


def fetch_unlisted(uri: str, max_bytes: int) -> Fetched:
    """The bytes of a whole file or object that nobody listed. Never raises for what is there, or is not."""
    if uris.is_local(uri) and os.path.isdir(uris.to_path(uri)):  # noqa: PTH112 - pathlib has no bytes
        return Fetched(None, Status.UNSUPPORTED, "a folder, not an image")
    try:
        source = open_source(uri)
        try:
            if source.size > max_bytes:
                return Fetched(None, Status.TOO_LARGE, f"{source.size} bytes, more than {max_bytes}", source.etag)
            return Fetched(source.read_at(0, source.size), Status.OK, None, source.etag)
        finally:
            source.close()
    except FileNotFoundError:
        return Fetched(None, Status.MISSING, "there is no such file")
    except (OSError, ValueError) as error:
        return _failure(error)


class _Fetch:
    def __init__(self, rows: Sequence[ItemRef], options: FetchOptions) -> None:
        self.rows = rows
        self.options = options
        self.results: dict[int, Fetched] = {}
        self.failures = 0  # of remote reads, in a row; a race between threads costs at most a few tries

    def run(self) -> list[Fetched]:
        jobs = list(self._jobs())
        with ThreadPoolExecutor(max(1, min(self.options.threads, len(jobs)))) as pool:
            for done in [pool.submit(read, indices) for read, indices in jobs]:
                done.result()
        return [self.results[index] for index in range(len(self.rows))]

    def _jobs(self) -> Iterator[tuple[Callable[[list[int]], None], list[int]]]:
        """Pieces of work: a function and the indices of the rows it reads."""
        plain: list[int] = []
        containers: dict[str, list[int]] = defaultdict(list)
        tables: dict[str, list[int]] = defaultdict(list)
        videos: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(self.rows):
            if row.member is None:
                plain.append(index)
            elif row.offset is not None:
                containers[row.uri].append(index)
            else:
                (tables if row.member.isdecimal() else videos)[row.uri].append(index)
        for indices in tables.values():
            yield self._read_table, indices
        for indices in videos.values():
            yield self._read_video, indices
        for indices in (plain, *containers.values()):
            for start in range(0, len(indices), _JOB_ROWS):
                yield self._read_files, indices[start : start + _JOB_ROWS]

    def _read_files(self, indices: list[int]) -> None:
        """Plain files and tar members; a container is opened once for its rows that stand together."""
        for uri, same in groupby(indices, key=lambda index: self.rows[index].uri):
            with _Reader(uri, self) as reader:
                for index in same:
                    row = self.rows[index]
                    self.results[index] = reader.attempt(lambda source, row=row: self._read(source, row))  # type: ignore[misc]

    def _read(self, source: Source, row: ItemRef) -> Fetched:
        if not source.is_version(row.version):
            return _changed()
        offset, size = (0, source.size) if row.member is None else (row.offset or 0, row.size or 0)
        if size == 0:
            return Fetched(None, Status.EMPTY, "no bytes", source.etag)
        if size > self.options.max_bytes:
            return self._too_large(size, source.etag)
        if offset + size > source.size:
            return Fetched(None, Status.TRUNCATED, "the archive ends inside this member", source.etag)
        data = source.read_at(offset, size)
        if len(data) < size:
            return _changed()
        return Fetched(data, Status.OK, None, source.etag)

    def _read_video(self, indices: list[int]) -> None:
        """Frames of one video, whose bytes are read once and shared."""
        with _Reader(self.rows[indices[0]].uri, self) as reader:
            for version, same in groupby(indices, key=lambda index: self.rows[index].version):
                whole = ItemRef(reader.uri, None, None, None, version)
                found = reader.attempt(lambda source, whole=whole: self._read(source, whole))  # type: ignore[misc]
                hashed = hashlib.sha256(found.data) if isinstance(found.data, bytes) else None
                for index in same:
                    self.results[index] = _framed(found, hashed, self.rows[index].member or "")

    def _read_table(self, indices: list[int]) -> None:
        """Rows of one Parquet file. What a try has read is kept, so that the next one goes on from there."""
        uri = self.rows[indices[0]].uri
        with _Reader(uri, self) as reader:
            found = reader.attempt(lambda source: self._read_rows(source, indices))
        for index in indices:
            self.results.setdefault(index, found)

    def _read_rows(self, source: Source, indices: list[int]) -> Fetched:
        """Puts the rows it can into the results; what it returns holds for the others."""
        from clipfake.corpus.parquet_bytes import DamagedError, read_rows

        wanted: dict[int, list[int]] = defaultdict(list)
        for index in indices:
            if not source.is_version(self.rows[index].version):
                self.results[index] = _changed()
            elif index not in self.results:
                wanted[int(self.rows[index].member or 0)].append(index)
        first = self.rows[indices[0]]
        key = f"{first.uri} {first.version}" if source.is_version(first.version) else None
        try:
            options = self.options
            for found in read_rows(source, sorted(wanted), options.bytes_column, options.max_bytes, key):
                for index in wanted[found.row]:
                    self.results[index] = self._row(found, source.etag)
        except DamagedError as error:
            return Fetched(None, Status.CORRUPT, f"the Parquet file is damaged: {error}", source.etag)
        return Fetched(None, Status.MISSING, "the Parquet file has no such row", source.etag)

    def _row(self, found: StoredRow, etag: str | None) -> Fetched:
        if not found.size:
            path = found.path
            error = f"the row holds a path and no bytes: {path[:200]!r}" if path else "the row holds no bytes"
            return Fetched(None, Status.EMPTY, error, etag)
        if found.data is None:
            return self._too_large(found.size, etag)
        return Fetched(found.data, Status.OK, None, etag)

    def _too_large(self, size: int, etag: str | None) -> Fetched:
        return Fetched(None, Status.TOO_LARGE, f"{size} bytes, more than {self.options.max_bytes}", etag)


class _Reader:
    """Tries to read from one file or object, opened when first needed and again after an I/O error."""

    def __init__(self, uri: str, owner: _Fetch) -> None:
        self.uri = uri
        self.owner = owner
        self.source: Source | None = None
        self.is_remote = not uris.is_local(uri)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self.source is not None:
            self.source.close()
            self.source = None

    def attempt(self, read: Callable[[Source], Fetched]) -> Fetched:
        if self.is_remote and self.owner.failures >= _GIVE_UP_AFTER:
            return Fetched(None, Status.UNREADABLE, "the store did not answer for the items before this one")

        def once() -> Fetched:
            try:
                if self.source is None:
                    self.source = open_source(self.uri, attempts=1)
                return read(self.source)
            except (OSError, ValueError):
                self.__exit__()
                raise

        try:
            found = retried(once, [_PAUSE_S * 4**n for n in range(self.owner.options.retries)], _may_pass)
        except UsageError as error:  # of the row, not of the user: a scheme that is not supported
            found = Fetched(None, Status.UNSUPPORTED, str(error))
        except (OSError, ValueError) as error:
            found = _failure(error)
        if self.is_remote:
            self.owner.failures = self.owner.failures + 1 if found.status is Status.UNREADABLE else 0
        return found


def _framed(found: Fetched, hashed: hashlib._Hash | None, member: str) -> Fetched:
    if not isinstance(found.data, bytes):
        return found
    if math.isnan(moment := moment_of(member)):
        return Fetched(None, Status.MISSING, f"{member[:100]!r} names no moment of a video", found.etag)
    return replace(found, data=Frame(found.data, moment, hashed))


def _changed() -> Fetched:
    return Fetched(None, Status.UNREADABLE, "changed since it was listed")


def _failure(error: Exception) -> Fetched:
    if isinstance(error, FileNotFoundError | NotADirectoryError) or "NOT_FOUND" in str(error):
        return Fetched(None, Status.MISSING, "not there any more")
    if isinstance(error, PermissionError) or any(sign in str(error) for sign in _DENIED):
        return Fetched(None, Status.DENIED, "no permission to read it")
    return Fetched(None, Status.UNREADABLE, one_line(error))


def _may_pass(error: Exception) -> bool:
    return isinstance(error, OSError) and _failure(error).status is Status.UNREADABLE
