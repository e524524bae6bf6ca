"""What a listing yields: files, and the folders that hold them; and which files are only a desktop's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LITTER: Final = "file of a desktop (.DS_Store, ._*, Thumbs.db)"  # the kind under which a tally counts them


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file or an object. version is `size-mtime_ns` as listed."""

    uri: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """What lies directly in a folder, sorted by name. Take URIs out of `folders` and the walk leaves them out."""

    uri: str
    files: list[Entry]
    folders: list[str]


def is_litter(name: str) -> bool:
    """Whether a file of that name was left by a desktop: what macOS and Windows put beside the user's own files."""
    return name.startswith("._") or name in (".DS_Store", "Thumbs.db", "desktop.ini")
