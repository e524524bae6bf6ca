"""Where members of a tar lie, for tables and reports, which name them without their offsets."""

from __future__ import annotations

import contextlib
import tarfile
import time
from collections.abc import Collection, Iterator

from clipfake.corpus.source import open_source


def find_members(uri: str, names: Collection[str], until: float = float("inf")) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of those regular members that are found, by one walk over the headers; the first of a name.

    until : of time.monotonic, after which the walk ends

    A damaged tar gives what comes before the damage. Raises OSError where it cannot be read.
    """
    with contextlib.closing(open_source(uri, 1)) as source, contextlib.suppress(tarfile.TarError, EOFError):
        left = set(names)
        with tarfile.open(fileobj=source.file(), mode="r:") as tar:
            while left and time.monotonic() < until and (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                if member.name in left and member.isreg():
                    left.discard(member.name)
                    yield member.name, member.offset_data, member.size
