"""Listing the files below a place: streamed, in a fixed order, one folder at a time in memory."""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

STAT_THREADS = 32
LIST_RETRIES = 2  # on top of the S3 client's own for each request, which do not cover an answer that breaks off

_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file or an object. version is `size-mtime_ns` as listed."""

    uri: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly in a folder, sorted by name. Take URIs out of `folders` and the walk leaves them out."""

    uri: str
    files: list[Entry]
    folders: list[str]


def walk(place: str, tally: Tally) -> Iterator[Folder]:
    """The folders at and below a canonical URI, depth first, a folder before its sub-folders.

    Symbolic links are followed, except to a folder that holds the link. What is neither a regular file nor a folder,
    broken links and folders without permission are counted in `tally`, never opened. A `place` that is a file is a
    folder of that one file. Raises UsageError for a place that is not there, ClipfakeError for a listing that breaks
    off (an object store's after retries): what was seen until then must never look complete.
    """
    if uris.is_local(place):
        yield from _walk_local(place, tally)
    else:
        yield from _walk_remote(place, tally)


def list_files(place: str, tally: Tally) -> Iterator[Entry]:
    """Every file at and below a place, in the order of `walk`."""
    for folder in walk(place, tally):
        yield from folder.files


def stat_files(names: Iterator[str]) -> Iterator[Entry | None]:
    """The entries of files that a table names, in order; None for one that is not there or is no regular file.

    On an object store this is a request for each name, STAT_THREADS at a time.
    """
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        while chunk := list(islice(names, 1024)):
            if all(uris.is_local(uri) for uri in chunk):
                yield from map(_stat_local, chunk)
            else:
                yield from pool.map(_stat, chunk)


def _stat(uri: str) -> Entry | None:
    if uris.is_local(uri):
        return _stat_local(uri)
    filesystem, path = uris.filesystem(uri)
    found = _retried(partial(filesystem.get_file_info, path), uri)
    return _remote_entry(uri, found) if found.is_file else None


def _stat_local(uri: str) -> Entry | None:
    try:
        found = _os_stat(uri)
    except (OSError, ValueError):  # ValueError: a name with a NUL
        return None
    return _local_entry(uri, found) if stat.S_ISREG(found.st_mode) else None


def _os_stat(uri: str) -> os.stat_result:
    return os.stat(uris.to_path(uri))  # noqa: PTH116 - pathlib has no bytes


def _local_entry(uri: str, found: os.stat_result) -> Entry:
    return Entry(uri, found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


def _remote_entry(uri: str, found: FileInfo) -> Entry:
    return Entry(uri, found.size, f"{found.size}-{found.mtime_ns}")


def _walk_local(place: str, tally: Tally) -> Iterator[Folder]:
    try:
        top = _os_stat(place)
    except OSError as error:
        raise UsageError(f"cannot read {uris.shown(place)}: {error.strerror}") from None
    if stat.S_ISREG(top.st_mode):
        yield Folder(place, [_local_entry(place, top)], [])
        return
    if not stat.S_ISDIR(top.st_mode):
        raise UsageError(f"{uris.shown(place)} is neither a file nor a folder")
    # Beside each folder that is to be listed stand the (device, inode) of the folders above it.
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(place, frozenset())]
    while pending:
        uri, above = pending.pop()
        folder = _scan(uri, above, tally)
        if folder is not None:
            found, here = folder
            yield found
            pending.extend((child, above | {here}) for child in reversed(found.folders))


def _scan(uri: str, above: frozenset[tuple[int, int]], tally: Tally) -> tuple[Folder, tuple[int, int]] | None:
    """One local folder and its (device, inode); None where it is counted as skipped."""
    try:
        here = _os_stat(uri)
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            tally.skip("link to a folder above", uri)
            return None
        with os.scandir(uris.to_path(uri)) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOENT):
            tally.skip("folder that cannot be read", uri)
            return None
        raise ClipfakeError(f"the listing broke off at {uris.shown(uri)}: {error.strerror}") from error
    folder = Folder(uri, [], [])
    for entry in ordered:
        child = uris.join(uri, entry.name)
        try:
            found = entry.stat()
        except OSError as error:
            if error.errno in (errno.EIO, errno.ESTALE):
                raise ClipfakeError(f"the listing broke off at {uris.shown(child)}: {error.strerror}") from error
            tally.skip("broken link" if entry.is_symlink() else "file that cannot be read", child)
            continue
        if stat.S_ISREG(found.st_mode):
            folder.files.append(_local_entry(child, found))
        elif stat.S_ISDIR(found.st_mode):
            folder.folders.append(child)
        else:
            tally.skip(_KINDS.get(stat.S_IFMT(found.st_mode), "special file"), child)
    return folder, identity


def _walk_remote(place: str, tally: Tally) -> Iterator[Folder]:
    from pyarrow.fs import FileSelector, FileType

    filesystem, top = uris.filesystem(place)
    found = _retried(partial(filesystem.get_file_info, top), place)
    if found.type == FileType.NotFound:
        raise UsageError(f"there is nothing at {uris.shown(place)}")
    if found.is_file:
        yield Folder(place, [_remote_entry(place, found)], [])
        return
    root = top.rstrip("/")
    pending = [root]
    while pending:
        path = pending.pop()
        found_here = _retried(partial(filesystem.get_file_info, FileSelector(path, recursive=False)), place)
        folder = Folder(uris.join(place, path[len(root) + 1 :]), [], [])
        below = []
        for info in sorted(found_here, key=lambda info: info.path):
            name = info.path[len(path) + 1 :]
            child = uris.join(folder.uri, name)
            if name in ("", ".", ".."):
                # A key such as "a//b": pyarrow cannot name it, and shows its prefix as a folder that holds itself.
                tally.skip("key with an empty or dot segment", folder.uri)
            elif info.is_file:
                folder.files.append(_remote_entry(child, info))
            else:
                folder.folders.append(child)
                below.append((child, info.path))
        yield folder
        kept = set(folder.folders)
        pending.extend(path for child, path in reversed(below) if child in kept)


def _retried(request: Callable[[], Any], uri: str) -> Any:
    """The answer of a store to `request()`, asked again with exponential backoff and jitter."""
    for attempt in range(LIST_RETRIES + 1):
        try:
            return request()
        except FileNotFoundError:
            raise UsageError(f"there is nothing at {uris.shown(uri)}") from None
        except OSError as error:
            if "ACCESS_DENIED" in str(error) or isinstance(error, PermissionError):
                raise UsageError(f"no permission to list {uris.shown(uri)}: {error}") from error
            if attempt == LIST_RETRIES:
                raise ClipfakeError(f"the listing of {uris.shown(uri)} broke off: {error}") from error
            time.sleep(random.uniform(0.5, 1.0) * 0.5 * 2**attempt)
    raise AssertionError
