"""The layout `webdataset`: tar shards whose members form samples by their names; also img2dataset's, with its json."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from typing import IO

from clipfake.corpus.beside import Beside, flattened
from clipfake.corpus.layouts.base import Item, Layout, LayoutOptions
from clipfake.corpus.layouts.magic import HEAD_BYTES, looks_like_image
from clipfake.corpus.layouts.samples import MAX_TEXT_BYTES, TEXTS, Samples
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.source import open_source
from clipfake.corpus.tally import CUT_CONTAINER, DOUBLED_MEMBER, Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

_IMAGES = frozenset(
    ("jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl")
)
_COMPANIONS = frozenset((*TEXTS, "cls", "npy", "npz", "pt", "pth", "xml", "csv"))
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def items(place: str, options: LayoutOptions, tally: Tally, beside: Beside = flattened) -> Iterator[Item]:
    """The images in every .tar at or below a place; identity is the member's name, the offset that of its bytes.

    An image is told by its extension, without a known one by its content. Captions come from `.txt` or the json, as
    `Samples` joins them. A shard that breaks off gives the members whose headers it still has. Memory: the names of
    CONTAINERS shards' images, and what `Samples` keeps of each.
    """
    yield from beside(_shard, _shards(place, options, tally), tally)


def _shards(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Entry]:
    for entry in list_files(place, tally, allow_outside=options.allow_outside):
        name = uris.shown(entry.uri)
        if name.lower().endswith(_COMPRESSED):
            raise UsageError(f"{name} is compressed: members of it cannot be read on their own, unpack it to a .tar")
        if not name.lower().endswith(".tar"):
            tally.skip("file that is not a .tar", entry.uri)
            continue
        yield entry


def _shard(entry: Entry, tally: Tally) -> Iterator[Item]:
    try:
        source = open_source(entry.uri)
    except OSError as error:
        raise ClipfakeError(f"the listing broke off at {uris.shown(entry.uri)}: {error}") from error
    seen: set[str] = set()
    samples = Samples(entry.uri, tally)
    try:
        for member, file in _members(source.file(), entry, tally):
            extension = member.name.rpartition(".")[2].lower()
            if posixpath.basename(member.name).startswith("._"):
                tally.skip("AppleDouble member of a tar (._*)", uris.item_id(entry.uri, member.name))
            elif _is_image(member, extension, file):
                if member.name in seen:
                    tally.skip(DOUBLED_MEMBER, uris.item_id(entry.uri, member.name))
                    continue
                seen.add(member.name)
                samples.add_image(Item(entry.uri, entry.version, member.size, member.name, member.offset_data))
            elif extension in TEXTS:
                if member.size > MAX_TEXT_BYTES:
                    tally.skip("text of more than 1 MiB", uris.item_id(entry.uri, member.name))
                    continue
                file.seek(member.offset_data)
                samples.add_text(member.name, extension, file.read(member.size))
            yield from samples.full()
        yield from samples.rest()
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
        tally.warn(CUT_CONTAINER, entry.uri, meaning)


def _is_image(member: tarfile.TarInfo, extension: str, file: IO[bytes]) -> bool:
    if extension in _IMAGES or extension in _COMPANIONS:
        return extension in _IMAGES
    file.seek(member.offset_data)
    return looks_like_image(file.read(HEAD_BYTES))


LAYOUT = Layout("webdataset", "tar shards, also img2dataset's; no labels", items, of_containers=True)
