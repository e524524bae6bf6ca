"""Packed files to where they are wanted: one step, local or in an object store."""

from clipfake.encoder.packed.family import SUFFIX, claims, packed_path
from clipfake.encoder.packed.packed_file import read_packed
from clipfake.errors import UsageError, one_line
from clipfake.storage import uri as uris
from clipfake.storage.store import Store


def check_place(out: str) -> str:
    """The canonical URI of a file to write. Raises UsageError unless it ends in .safetensors."""
    place = uris.place(out)
    if not place.lower().endswith(SUFFIX):
        raise UsageError(f"the packed file is {out}; give a name that ends in {SUFFIX}")
    return place


def deliver(data: bytes, place: str) -> None:
    """Write a packed file to a canonical URI; it appears whole or not at all."""
    folder, _, name = place.rpartition("/")
    try:
        store = Store(folder)
        if not store.is_object_store:
            store.filesystem.create_dir(store.path(), recursive=True)
        store.write_bytes(uris.shown(name), data)
    except OSError as error:
        raise UsageError(f"cannot write {place}; check the place and the keys ({one_line(error, 200)})") from error


def fetch(encoder: str, to: str) -> str:
    """Copies a packed encoder, by its name or place, into a folder, or to a .safetensors file; returns its URI.

    Raises UsageError for what is no packed encoder, or cannot be had.
    """
    if not claims(encoder):
        raise UsageError(f"{encoder} is no packed encoder: give clip-b16, or the place of a packed file")
    path = packed_path(encoder)
    read_packed(path)
    place = uris.place(to)
    if not place.lower().endswith(SUFFIX):
        name = encoder if not encoder.lower().endswith(SUFFIX) else uris.shown(uris.place(encoder).rpartition("/")[2])
        place = uris.join(place, name.removesuffix(SUFFIX) + SUFFIX)
    deliver(path.read_bytes(), place)
    return place
