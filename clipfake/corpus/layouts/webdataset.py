"""The layout `webdataset`: tar shards whose members form samples by their names; also img2dataset's, with its json."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any

from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.layouts.magic import HEAD_BYTES, looks_like_image
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

_IMAGES = frozenset(
    ("jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl")
)
_COMPANIONS = frozenset(("json", "txt", "caption", "cls", "npy", "npz", "pt", "pth", "xml", "csv"))
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_MAX_TEXT_BYTES = 1 << 20


@dataclass(slots=True)
class _Sample:
    """Members that stand together and share a name up to its first dot."""

    key: str
    images: list[Item] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    text: str | None = None


def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The images in every .tar at or below a place; identity is the member's name, the offset that of its bytes.

    An image is told by its extension, without a known one by its content. Captions come from `.txt` or the json. A
    shard that breaks off gives the members whose headers it still has. Memory: the names of one shard's images.
    """
    for entry in list_files(place, tally):
        name = uris.shown(entry.uri)
        if name.endswith(_COMPRESSED):
            raise UsageError(f"{name} is compressed: members of it cannot be read on their own, unpack it to a .tar")
        if not name.endswith(".tar"):
            tally.skip("file that is not a .tar", entry.uri)
            continue
        yield from _shard(entry, tally)


def _shard(entry: Entry, tally: Tally) -> Iterator[Item]:
    try:
        source = open_source(entry.uri)
    except OSError as error:
        raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
    seen: set[str] = set()
    try:
        sample = _Sample("")
        for member, file in _members(source.file(), entry, tally):
            key = _key(member.name)
            if key != sample.key:
                yield from _finished(sample, tally)
                sample = _Sample(key)
            if _is_image(member, file):
                if member.name in seen:
                    tally.skip("member that is there twice", uris.item_id(entry.uri, member.name))
                    continue
                seen.add(member.name)
                sample.images.append(Item(entry.uri, entry.version, member.size, member.name, member.offset_data))
            else:
                _read_companion(sample, member, file)
        yield from _finished(sample, tally)
    finally:
        source.close()


def _members(file: IO[bytes], entry: Entry, tally: Tally) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The regular members in order; `file` may be read and moved between them."""
    meaning = "the shard breaks off; what comes before is listed"
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header of the shard
                if member.isreg() and not member.issparse():
                    yield member, file
                elif not member.isdir():
                    tally.skip("tar member that is no plain file", uris.item_id(entry.uri, member.name))
            # tarfile takes a damaged header or the end of the data for the end of the archive: a block of zeros.
            file.seek(tar.offset)
            complete = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, EOFError):
        complete = False
    except OSError as error:
        raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
    if not complete:
        tally.warn("truncated_container", entry.uri, meaning)


def _key(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.partition(".")[0])


def _is_image(member: tarfile.TarInfo, file: IO[bytes]) -> bool:
    extension = member.name.rpartition(".")[2].lower()
    if extension in _IMAGES or extension in _COMPANIONS:
        return extension in _IMAGES
    file.seek(member.offset_data)
    return looks_like_image(file.read(HEAD_BYTES))


def _read_companion(sample: _Sample, member: tarfile.TarInfo, file: IO[bytes]) -> None:
    extension = member.name.rpartition(".")[2].lower()
    if extension not in ("json", "txt", "caption") or member.size > _MAX_TEXT_BYTES:
        return
    file.seek(member.offset_data)
    data = file.read(member.size)
    if extension != "json":
        sample.text = data.decode("utf-8", "replace").strip()
        return
    try:
        facts = json.loads(data)
    except ValueError:
        return
    if isinstance(facts, dict):
        sample.facts = facts


def _finished(sample: _Sample, tally: Tally) -> Iterator[Item]:
    caption = sample.facts.get("caption") or sample.text
    for item in sample.images:
        facts = sample.facts
        if any(facts.get(f"original_{side}", facts.get(side)) != facts.get(side) for side in ("width", "height")):
            meaning = "img2dataset resized this image, which hides what generators leave; use resize_mode=no"
            tally.warn("re-encoded", uris.item_id(item.uri, item.member), meaning)
        yield replace(item, caption=caption if isinstance(caption, str) else None)


LAYOUT = Layout("webdataset", "tar shards, also img2dataset's; no labels", items)
