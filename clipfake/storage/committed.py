"""Which files of a folder hold its committed rows, also while files are merged and when a run that slept writes late.

A merged file lists in its footer the files whose rows it holds, and where. Readers ignore files of these names: they
are about to be deleted, or a run that was thought dead has written them again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import pyarrow.parquet as pq

from clipfake.errors import ClipfakeError
from clipfake.storage.store import Store, StoredFile

COMPACTION_FOLDER = "_compact"
SOURCES_KEY = b"clipfake.sources"
MERGED = re.compile(r".*-c\d{5}\.parquet")
TRIES = 20  # listings of a folder whose files change meanwhile


class Span(NamedTuple):
    """Where the rows of a file lie in the file that it was merged into."""

    first: int
    rows: int


def merged_name(run_id: str, number: int) -> str:
    """The name of a merged file."""
    return f"{run_id}-c{number:05d}.parquet"


def data_files(store: Store) -> Sequence[StoredFile]:
    """The Parquet files of the folder, those included that readers ignore."""
    return [f for f in store.list("") if f.name.endswith(".parquet") and not f.name.startswith(("_", "."))]


def committed_files(store: Store) -> list[str]:
    """Names of the files that hold the committed rows, each row once.

    The folder is listed, intents are read, and it is listed again: were a file deleted while it was being listed, the
    one that it was merged into may have been missed.
    """
    for _ in range(TRIES):
        before = {file.name for file in data_files(store)}
        intents = _intents(store)
        files = data_files(store)
        names = {file.name for file in files}
        if not before <= names:
            continue
        try:
            superseded = {name for file in files for name in sources_of(store, file)}
        except FileNotFoundError:  # merged again meanwhile
            continue
        for intent in intents:
            if intent["target"] in names:
                superseded.update(intent["sources"])
        return sorted(names - superseded)
    raise ClipfakeError(f"the files of {store.uri} change faster than they can be listed; try again")


def sources_of(store: Store, file: StoredFile) -> Mapping[str, Span]:
    """The files whose rows a merged file holds, those included that were merged into its sources before."""
    return _sources(store.uri, file.name, file.size, file.mtime) if MERGED.fullmatch(file.name) else {}


@lru_cache(maxsize=4096)
def _sources(uri: str, name: str, size: int, mtime: float) -> Mapping[str, Span]:
    store = Store(uri)
    metadata = pq.read_metadata(store.path(name), filesystem=store.filesystem).metadata or {}
    listed = json.loads(metadata.get(SOURCES_KEY, b"{}"))  # none in a file of version 0.1.0
    return {source: Span(*place) for source, place in listed.items()}


def known_files(store: Store) -> set[str]:
    """Names of the files that are there, and of those that were merged into one of them."""
    files = data_files(store)
    return {file.name for file in files} | {name for file in files for name in sources_of(store, file)}


def place_of(store: Store, name: str) -> tuple[str, int]:
    """The file that holds the rows of the file `name` now, and the number of the first one there.

    Raises FileNotFoundError where neither it nor a file that it was merged into is there.
    """
    files = data_files(store)
    for file in files:
        if found := sources_of(store, file).get(name):
            return file.name, found.first
    if any(file.name == name for file in files):
        return name, 0
    raise FileNotFoundError(f"{store.uri}/{name} is gone, and no file says that it holds its rows")


def _intents(store: Store) -> list[dict[str, list[str]]]:
    """The merges that are under way or were killed, as they were written down before they began."""
    intents = []
    for entry in store.list(COMPACTION_FOLDER):
        if entry.name.endswith(".json"):
            try:
                intents.append(json.loads(store.read_bytes(f"{COMPACTION_FOLDER}/{entry.name}")))
            except FileNotFoundError:  # it is done
                continue
    return intents
