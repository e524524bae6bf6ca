"""Images and texts in strangers' Parquet, read by a confined process that gets its bytes from here."""

from __future__ import annotations

import atexit
import errno
import json
import socket
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import BoundedSemaphore
from typing import Any

from clipfake.corpus import confinement
from clipfake.corpus.source import Readable

MEMORY = 2 << 30  # bytes that reading one file may take
MAX_UNPACKED = 256 << 20  # bytes that the rows of one call may hold whatever the file's size
MAX_RATIO = 100  # beyond: how much more they may hold than the file. Images do not get smaller.
_SILENCE_S = 120.0  # without a word from the process
_AT_A_TIME = BoundedSemaphore(2)  # files whose images this process reads side by side, for the memory that they take
_Answer = Generator[tuple[dict[str, Any], bytes | None], None, None]


class DamagedError(Exception):
    """A Parquet file that cannot be read, or takes too much memory to be read."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row with an image. data is None where it has none (size None or 0), or more bytes than were asked for."""

    row: int
    size: int | None
    path: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class StoredTexts:
    """What a file says it has: (name, type) of its columns, which of them holds bytes, how many rows; and its texts.

    parts : (rows, their texts by column), in the file's order
    """

    columns: list[tuple[str, str]]
    image: str | None
    rows: int
    parts: Iterator[tuple[int, dict[str, list[str | None]]]]


def read_rows(
    source: Readable, rows: list[int], wanted: str | None = None, most: int = MEMORY, key: str | None = None
) -> Iterator[StoredRow]:
    """Each of the sorted `rows` that the file has. Raises DamagedError, or OSError where bytes could not be had.

    wanted : the column, else the first that holds bytes
    most : bytes of an image beyond which only its size is told
    key : names the file and its version: rows that follow those of the last call are not read from their row group's
        beginning again
    """
    left = max(MAX_UNPACKED, MAX_RATIO * source.size)
    with _AT_A_TIME, closing(_ask(source, what="rows", rows=rows, wanted=wanted, most=most, key=key)) as answer:
        for about, data in answer:
            size = about["size"]
            left -= len(data or b"")
            if left < 0:
                raise DamagedError(f"its rows hold more than {MAX_RATIO} times as many bytes as the file")
            yield StoredRow(about["row"], size, about["path"], b"" if size == 0 else data)


def read_texts(source: Readable, names: list[str], wanted: str | None = None) -> StoredTexts:
    """What a file has, and the texts of these columns. Raises as `read_rows`; so do the parts."""
    answer = _ask(source, what="texts", names=names, wanted=wanted)
    about, _ = next(answer)
    if about["rows"] > source.size:
        answer.close()
        raise DamagedError(f"it says that it has {about['rows']} rows, and has {source.size} bytes")
    parts = ((part["rows"], part["texts"]) for part, _ in answer)
    return StoredTexts([(name, kind) for name, kind in about["columns"]], about["image"], about["rows"], parts)


class _Child:
    """One reading process and this end of its socket."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = confinement.start("clipfake.corpus.parquet_child", theirs, str(MEMORY))
        self.link = Connection(ours.detach())
        self.key: str | None = None  # of the file that it has at hand

    def answer(self, source: Readable, order: dict[str, Any]) -> _Answer:
        """The parts of its answer. Raises OSError where it was killed."""
        try:
            self.link.send_bytes(json.dumps({"size": source.size, **order}).encode())
            while not (about := self._next()).get("end"):
                if "damage" in about:
                    raise DamagedError(about["damage"])
                if "read" in about:
                    offset, length = about["read"]
                    self.link.send_bytes(source.read_at(offset, min(length, source.size)))
                else:
                    yield about, self.link.recv_bytes(MEMORY) if about["data"] else None
            if about["tired"]:
                self.kill()
        except (EOFError, ConnectionError):
            how = confinement.ending(self.process)
            if "SIGKILL" in how:  # by the machine that ran out of memory, perhaps: another time it may pass
                raise OSError(errno.EIO, "the reading process was killed") from None
            raise DamagedError(f"the reading process {how}") from None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()

    def _next(self) -> dict[str, Any]:
        if not self.link.poll(_SILENCE_S):
            raise DamagedError(f"it was not read within {_SILENCE_S:g} s")
        found: dict[str, Any] = json.loads(self.link.recv_bytes(MEMORY))
        return found


_idle: list[_Child] = []  # list.append, list.pop and list.remove are one step each


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().kill()


def _taken(key: str | None) -> _Child | None:
    """An idle process, if there is one: that which has the file of this key at hand, else any."""
    for child in [*(one for one in list(_idle) if key is not None and one.key == key), *list(_idle)[::-1]]:
        with suppress(ValueError):  # another thread took it
            _idle.remove(child)
            if child.process.poll() is None:
                return child
            child.kill()
    return None


def _ask(source: Readable, **order: Any) -> _Answer:
    key = order.get("key")
    child = _taken(key) or _Child()
    child.key, whole = key, False
    try:
        yield from child.answer(source, order)
        whole = True
    finally:
        if whole and not child.link.closed:
            _idle.append(child)
        else:
            child.kill()
