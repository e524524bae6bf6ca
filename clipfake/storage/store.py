"""A store: a folder, local or in an object store, where files appear whole or not at all; and what kind a folder is."""

from __future__ import annotations

import mmap
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.folders import entries

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

KIND_KEY = b"clipfake.kind"
_ASIDE = ".aside"  # the end of a hidden file that is being replaced, where a rename does not replace one
Kind = Literal["manifest", "embeddings", "report"]
Check = Callable[[], None]


def nothing_to_check() -> None:
    """The check of a write that nobody else can come before."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a store: its name in the listed folder, bytes, and time of change in seconds by the store's clock."""

    name: str
    size: int
    mtime: float


class Store:
    """Reads and writes the files below one canonical URI. Names are relative POSIX paths; "" is the folder itself.

    A file appears in one step: locally by a hidden temporary file in the same folder and a rename, in object stores by
    one PUT, or one upload in parts that is completed at its end. On HDFS a file that is replaced is put aside first.
    Until then nothing is visible under its name, and a writer that dies leaves at most a name that begins with "." and
    does not end in .parquet. Errors are pyarrow's: FileNotFoundError, PermissionError, OSError.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.filesystem: FileSystem
        self.filesystem, self._base = uris.filesystem(uri)
        self.is_object_store = uris.scheme_of(uri) in uris.OBJECT_STORES

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        """Another process opens it for itself, with its own credentials."""
        return Store, (self.uri,)

    def path(self, name: str = "") -> str:
        """The path of `name` in `self.filesystem`, as pyarrow.dataset and pyarrow.parquet take it."""
        return f"{self._base.rstrip('/')}/{name}" if name else self._base

    def uri_of(self, name: str) -> str:
        """The canonical URI of `name`."""
        return uris.join(self.uri, name)

    def below(self, name: str) -> Store:
        """The store of the folder `name`."""
        return Store(self.uri_of(name))

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name; an object store's folder exists while something is in it."""
        from pyarrow.fs import FileType

        return self.filesystem.get_file_info(self.path(name)).type != FileType.NotFound

    def list(self, name: str = "") -> Sequence[StoredFile]:
        """The files directly in the folder `name`, sorted, without hidden ones; none where there is no such folder."""
        return [
            StoredFile(found.base_name, found.size, found.mtime_ns / 1e9)
            for found in self._entries(name)
            if found.is_file and not found.base_name.startswith(".")
        ]

    def folders(self, name: str = "") -> Sequence[str]:
        """The names of the folders directly in the folder `name`, sorted; none where there is no such folder."""
        from pyarrow.fs import FileType

        return [found.base_name for found in self._entries(name) if found.type == FileType.Directory]

    def _entries(self, name: str) -> Sequence[FileInfo]:
        return entries(uris.scheme_of(self.uri), self.filesystem, self.path(name), allow_not_found=True)

    def read_bytes(self, name: str) -> bytes:
        """The whole content of a file."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return stream.read()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Create or replace a file in one step."""
        if self.is_object_store:
            self.put(name, data)
        else:
            with self.writing(name) as sink:
                sink.write(data)

    def put(self, name: str, data: object) -> None:
        """Writes a file by one request. On a disk it is not whole at once: for what nobody reads before it is done."""
        # One write of everything: between two writes an interrupt would make close() publish half of the object.
        with self.filesystem.open_output_stream(self.path(name)) as stream:
            stream.write(data)

    @contextmanager
    def writing(self, name: str, check: Check = nothing_to_check) -> Iterator[IO[bytes]]:
        """A binary sink (for pyarrow.parquet.ParquetWriter) that becomes the file `name` when the block ends.

        check : called when all is written, immediately before it becomes visible

        Nothing becomes visible when the block raises. For an object store the data waits in a temporary file without a
        name: pyarrow finishes an upload even when an exception drops its stream, so none is begun before the end.
        """
        if self.is_object_store:
            with tempfile.TemporaryFile() as spool:
                yield spool
                spool.flush()
                whole = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) if spool.tell() else b""
                check()
                self.put(name, whole)
            return
        temporary = self.path(_hidden_beside(name))
        with self._temporary_sink(temporary) as sink:
            yield sink
        try:
            check()
        except BaseException:
            with suppress(OSError):  # what went wrong is the error that matters
                self.filesystem.delete_file(temporary)
            raise
        self._publish(temporary, self.path(name))

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is deleted already."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def delete_tree(self, name: str) -> None:
        """Delete a folder and all below it; one that is not there is deleted already."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path(name))

    def delete_if_empty(self, name: str) -> None:
        """Delete a folder in which nothing is; an object store has no such folder."""
        if uris.is_local(self.uri):
            with suppress(OSError):
                os.rmdir(self.path(name))  # noqa: PTH106 - it refuses a folder that is not empty

    def sweep(self, name: str = "", older_than_s: float = 3600.0) -> int:
        """Delete what killed writers left in the folder `name`; returns how many files that were.

        What one of them had put aside, and had not replaced yet, is put back.
        """
        limit = time.time() - older_than_s
        entries = [found for found in self._entries(name) if found.is_file]
        there, swept = {found.path for found in entries}, 0
        for found in entries:
            path = found.path.removesuffix(found.base_name) + found.base_name[1:].removesuffix(_ASIDE)
            if found.base_name.startswith(".") and found.base_name.endswith(_ASIDE) and path not in there:
                self.filesystem.move(found.path, path)
            elif _is_temporary(found.base_name) and found.mtime_ns / 1e9 < limit:
                self.filesystem.delete_file(found.path)
                swept += 1
        return swept

    @contextmanager
    def _temporary_sink(self, temporary: str) -> Iterator[IO[bytes]]:
        self.filesystem.create_dir(temporary.rpartition("/")[0], recursive=True)
        try:
            if uris.is_local(self.uri):
                with open(temporary, "xb") as sink:
                    yield sink
                    sink.flush()
                    os.fsync(sink.fileno())
            else:
                with self.filesystem.open_output_stream(temporary) as stream:
                    yield cast(IO[bytes], stream)
        except BaseException:
            with suppress(OSError):  # what went wrong is the error that matters
                self.filesystem.delete_file(temporary)
            raise

    def _publish(self, temporary: str, path: str) -> None:
        if uris.is_local(self.uri):
            Path(temporary).replace(path)
            _sync_folder(path.rpartition("/")[0])
            return
        from pyarrow.fs import FileType

        folder, _, base = path.rpartition("/")
        aside = f"{folder}/.{base}{_ASIDE}"
        if self.filesystem.get_file_info(path).type != FileType.NotFound:  # HDFS does not rename over a file
            self.filesystem.move(path, aside)
        self.filesystem.move(temporary, path)
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(aside)


def check_new(store: Store, own: Collection[str] = (), option: str = "--out") -> None:
    """Raises UsageError where the folder holds anything but the files and folders named in `own`."""
    names = {file.name for file in store.list("")} | set(store.folders(""))
    if others := sorted(names - set(own)):
        raise UsageError(
            f"{uris.shown(store.uri)} holds something else ({others[0]}): give {option} a new or empty folder"
        )


def check_apart(corpus: str, out: str, option: str = "--out") -> None:
    """Raises UsageError where the place `out` lies in the corpus: the next listing would take it for items."""
    inside, outside = (
        os.fsdecode(os.path.realpath(uris.to_path(uri))) if uris.is_local(uri) else uri for uri in (out, corpus)
    )
    if f"{inside}/".startswith(f"{outside.rstrip('/')}/"):
        raise UsageError(
            f"{uris.shown(out)} lies in the corpus and would become part of it: give {option} a place outside of it"
        )


def kind_of(uri: str) -> Kind | None:
    """What a file or folder of Parquet says of itself in its footer (`clipfake.kind`); None for everything else.

    A folder is asked by the first Parquet file in it (then in its sub-folders `key=value`) that can be read. None also
    for a place that is not there: then it is for the reader of a corpus to say so.
    """
    from pyarrow import ArrowException
    from pyarrow import parquet as pq

    with suppress(FileNotFoundError, NotADirectoryError, PermissionError, UsageError):
        for path, filesystem in _parquet_files(uri):
            try:
                metadata = pq.read_metadata(path, filesystem=filesystem).metadata or {}
            except (ArrowException, OSError):
                continue
            kind = metadata.get(KIND_KEY, b"").decode("utf-8", "replace")
            return cast(Kind, kind) if kind in ("manifest", "embeddings", "report") else None
    return None


def _parquet_files(uri: str) -> Iterator[tuple[str, FileSystem]]:
    filesystem, path = uris.filesystem(uri)
    if filesystem.get_file_info(path).is_file:
        yield path, filesystem
        if uris.is_local(uri):
            return  # in an object store there may be a folder of the same name
    remote = (
        None if uris.is_local(uri) else [found.base_name for found in entries(uris.scheme_of(uri), filesystem, path)]
    )
    for name in _local_names(uri) if remote is None else remote:
        if name.endswith(".parquet") and not name.startswith((".", "_")):
            yield f"{path.rstrip('/')}/{name}", filesystem
    for name in _local_names(uri) if remote is None else remote:
        if "=" in name and not name.startswith((".", "_")):
            yield from _parquet_files(uris.join(uri, name))


def _local_names(uri: str) -> Iterator[str]:
    """Names in a folder, in no order: millions of files are not held in memory to find one of Parquet."""
    with os.scandir(uris.to_path(uri)) as found:
        for entry in found:
            yield entry.name.decode("utf-8", "replace")


def _hidden_beside(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/.{base[:100]}.{uuid.uuid4().hex}.tmp".lstrip("/")


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith((".tmp", _ASIDE))


def _sync_folder(path: str) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
