"""Listing an object store, or another filesystem that pyarrow opens: streamed, a few folders at a time in memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from clipfake.corpus.entries import LITTER, Entry, ListedFolder, is_litter
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError, one_line
from clipfake.storage import uri as uris
from clipfake.storage.failures import ANOTHER_REGION, explained
from clipfake.storage.folders import entries, tree
from clipfake.storage.retries import retried

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

LIST_THREADS = 8  # folders that are asked for side by side
PAUSES_S = (0.5, 1.0)  # beside the client's own for each request, which do not cover an answer that breaks off

_MARKER = "empty object that stands for a folder"
_NO_CONNECTION = ("NETWORK_CONNECTION", "curlCode: 6", "curlCode: 7", "Could not connect", "Couldn't connect")
_Answer = TypeVar("_Answer")


def walk_remote(place: str, tally: Tally) -> Iterator[ListedFolder]:
    """As `listing.walk`, of a place that is not local.

    A place that is an object and a prefix is the prefix, and the object too where it is not empty. Empty objects that
    stand for a folder (its name, or Hadoop's `name_$folder$`) are counted. On gs:// all is listed in one go, elsewhere
    LIST_THREADS folders side by side: that many are in memory.
    """
    from pyarrow.fs import FileType

    filesystem, top = uris.filesystem(place)
    scheme = uris.scheme_of(place)
    found = _answer(partial(filesystem.get_file_info, top), place)
    if found.type == FileType.NotFound:
        raise UsageError(f"there is nothing at {uris.shown(place)}")
    all_of_it = _answer(partial(tree, filesystem, top, True), place) if scheme == "gs" else None
    root = top.rstrip("/")

    def children(path: str) -> list[FileInfo]:
        if all_of_it is not None:
            return all_of_it.get(path, [])
        return _answer(partial(entries, scheme, filesystem, path, found.is_file), place)

    if found.is_file:
        is_folder = bool(children(root))
        if is_folder and not found.size:
            tally.skip(_MARKER, place)
        else:
            yield ListedFolder(place, [_entry(place, found)], [])
        if not is_folder:
            return
    pending = [_Asked(root)]
    with ThreadPoolExecutor(LIST_THREADS, thread_name_prefix="clipfake-listing") as pool:
        try:
            while pending:
                for asked in pending[: -LIST_THREADS - 1 : -1]:  # the next ones while this one is worked off
                    asked.answer = asked.answer or pool.submit(children, asked.path)
                path, answer = pending[-1].path, pending.pop().answer
                assert answer is not None
                uri = uris.join(place, path[len(root) + 1 :])
                folder, below = _folder(uri, answer.result(), len(path) + 1, tally)
                yield folder
                kept = set(folder.folders)
                pending.extend(_Asked(path) for child, path in reversed(below) if child in kept)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Asked:
    """A folder that is to be listed, and what the store says of it."""

    path: str
    answer: Future[list[FileInfo]] | None = None


def stat_remote(uri: str) -> Entry | None:
    """The entry of an object; None where there is none of that name."""
    filesystem, path = uris.filesystem(uri)
    found = _answer(partial(filesystem.get_file_info, path), uri)
    return _entry(uri, found) if found.is_file else None


def _answer(request: Callable[[], _Answer], uri: str) -> _Answer:
    """The answer of a store to `request()`, asked again where it breaks off.

    A store that cannot be reached at all is not asked again: its client has tried for half a minute.
    """
    from pyarrow import ArrowException

    def may_pass(error: Exception) -> bool:
        return _refusal(error, uri) is None and not any(sign in str(error) for sign in _NO_CONNECTION)

    try:
        return retried(request, PAUSES_S, may_pass, logging.WARNING)
    except (OSError, ArrowException) as error:
        broke_off = ClipfakeError(f"the listing of {uris.shown(uri)} broke off: {one_line(error)}")
        raise _refusal(error, uri) or broke_off from error


def _refusal(error: Exception, uri: str) -> Exception | None:
    """What the user is told where asking again helps nothing."""
    words = one_line(error)
    if isinstance(error, FileNotFoundError):
        return UsageError(f"there is nothing at {uris.shown(uri)}")
    if isinstance(error, PermissionError) or "ACCESS_DENIED" in words or "PERMISSION_DENIED" in words:
        return UsageError(f"no permission to list {uris.shown(uri)}: {words}")
    return (explained(error) or error) if re.search(ANOTHER_REGION, words) else None


def _folder(uri: str, found: list[FileInfo], skip: int, tally: Tally) -> tuple[ListedFolder, list[tuple[str, str]]]:
    """A folder, and (URI, path) of each of its sub-folders. The names in it begin after `skip` characters."""
    folder = ListedFolder(uri, [], [])
    below: list[tuple[str, str]] = []
    prefixes = {info.path for info in found if not info.is_file}
    for info in found:
        name = info.path[skip:]
        child = uris.join(uri, name)
        if name in ("", ".", "..") or "/" in name:
            # A key such as "a//b": pyarrow cannot name it, and shows its prefix as a folder that holds itself.
            tally.skip("key with an empty or dot segment", uri)
        elif not info.is_file:
            folder.folders.append(child)
            below.append((child, info.path))
        elif not info.size and (info.path in prefixes or name.endswith("_$folder$")):
            tally.skip(_MARKER, child)
        elif is_litter(name):
            tally.skip(LITTER, child)
        else:
            folder.files.append(_entry(child, info))
    return folder, below


def _entry(uri: str, found: FileInfo) -> Entry:
    return Entry(uri, found.size, f"{found.size}-{found.mtime_ns}")
