"""Listing the files below a place: streamed, in a fixed order, one folder at a time in memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from clipfake.corpus.entries import LITTER, Entry, ListedFolder, is_litter
from clipfake.corpus.objects import stat_remote, walk_remote
from clipfake.corpus.tally import UNREADABLE_FILE, UNREADABLE_FOLDER, Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

STAT_THREADS = 32

_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


def walk(place: str, tally: Tally, *, allow_outside: bool = False) -> Iterator[ListedFolder]:
    """The folders at and below a canonical URI, depth first, a folder before its sub-folders.

    Symbolic links to files of the corpus are followed; links to its folders are not, since these are listed anyway.
    Links out of the corpus are followed only with `allow_outside`, each folder they lead to once. What is neither a
    regular file nor a folder, links that are not followed, folders without permission and what a desktop leaves are
    counted in `tally`, never opened. A `place` that is a file is a folder of that one file. Raises UsageError for a
    place that is not there, ClipfakeError for a listing that breaks off (an object store's after retries): what was
    seen until then must never look complete.
    """
    if uris.is_local(place):
        yield from _LocalWalk(place, tally, allow_outside).folders()
    else:
        yield from walk_remote(place, tally)


def list_files(place: str, tally: Tally, *, allow_outside: bool = False) -> Iterator[Entry]:
    """Every file at and below a place, in the order of `walk`."""
    for folder in walk(place, tally, allow_outside=allow_outside):
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
    return _stat_local(uri) if uris.is_local(uri) else stat_remote(uri)


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


class _LocalWalk:
    """A walk through the folders of this machine."""

    def __init__(self, place: str, tally: Tally, allow_outside: bool) -> None:
        self._place = place
        self._tally = tally
        self._allow_outside = allow_outside
        self._real_root = os.path.realpath(uris.to_path(place))
        self._linked: set[tuple[int, int]] = set()  # (device, inode) of the folders that links led to

    def folders(self) -> Iterator[ListedFolder]:
        try:
            top = _os_stat(self._place)
        except OSError as error:
            raise UsageError(f"cannot read {uris.shown(self._place)}: {error.strerror}") from None
        if stat.S_ISREG(top.st_mode):
            yield ListedFolder(self._place, [_local_entry(self._place, top)], [])
            return
        if not stat.S_ISDIR(top.st_mode):
            raise UsageError(f"{uris.shown(self._place)} is neither a file nor a folder")
        pending = [self._place]
        while pending:
            folder = self._scan(pending.pop())
            if folder is not None:
                yield folder
                pending.extend(reversed(folder.folders))

    def _scan(self, uri: str) -> ListedFolder | None:
        """One folder; None where it is counted as skipped."""
        try:
            with os.scandir(uris.to_path(uri)) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOENT):
                self._tally.skip(UNREADABLE_FOLDER, uri)
                return None
            raise ClipfakeError(f"the listing broke off at {uris.shown(uri)}: {error.strerror}") from error
        folder = ListedFolder(uri, [], [])
        for entry in ordered:
            self._sort(folder, entry)
        return folder

    def _sort(self, folder: ListedFolder, entry: os.DirEntry[bytes]) -> None:
        """Puts an entry among the files or folders, or counts it."""
        child = uris.join(folder.uri, entry.name)
        try:
            found = entry.stat()
        except OSError as error:
            if error.errno in (errno.EIO, errno.ESTALE):
                raise ClipfakeError(f"the listing broke off at {uris.shown(child)}: {error.strerror}") from error
            self._tally.skip("broken link" if entry.is_symlink() else UNREADABLE_FILE, child)
            return
        reason = self._refusal(entry, found) if entry.is_symlink() else None
        if reason is not None:
            self._tally.skip(reason, child)
        elif stat.S_ISDIR(found.st_mode):
            folder.folders.append(child)
        elif not stat.S_ISREG(found.st_mode):
            self._tally.skip(_KINDS.get(stat.S_IFMT(found.st_mode), "special file"), child)
        elif is_litter(os.fsdecode(entry.name)):
            self._tally.skip(LITTER, child)
        else:
            folder.files.append(_local_entry(child, found))

    def _refusal(self, link: os.DirEntry[bytes], found: os.stat_result) -> str | None:
        """Why a symbolic link is not followed; None where it is."""
        target, is_folder = os.path.realpath(link.path), stat.S_ISDIR(found.st_mode)
        if target == self._real_root or target.startswith(self._real_root.rstrip(b"/") + b"/"):
            return "link to a folder that is listed anyway" if is_folder else None
        if not self._allow_outside:
            return "link out of the corpus (--allow-outside follows it)"
        if is_folder and (identity := (found.st_dev, found.st_ino)) in self._linked:
            return "link to a folder that is listed anyway"
        if is_folder:
            if self._real_root.startswith(target.rstrip(b"/") + b"/"):
                return "link to a folder above"
            self._linked.add(identity)
        return None
