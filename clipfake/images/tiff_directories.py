"""The directories of a classic TIFF: whether the file ends early, and whether its first picture is only a preview."""

import struct
from typing import Final

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes, by type
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I"}
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES = 254, 255, 262, 330
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _DNG_VERSION = 273, 279, 324, 325, 50706
_WANTED: Final = frozenset(
    (
        *(_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES),
        *(_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _DNG_VERSION),
    )
)
_SENSOR: Final = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_MAX_SUB_DIRECTORIES: Final = 16

Tags = dict[int, tuple[int, ...]]


class _EndsEarlyError(Exception):
    pass


def ends_early(data: bytes) -> bool:
    """Whether the first directory, the values it points to, its strips or its tiles lie past the end of the data.

    Raises struct.error where the directory itself does. False for BigTIFF.
    """
    order = _byte_order(data)
    if order is None:
        return False
    try:
        tags = _first(data, order)
    except _EndsEarlyError:
        return True
    pieces = [*zip(tags.get(_STRIPS, ()), tags.get(_STRIP_BYTES, ()), strict=False)]
    pieces += zip(tags.get(_TILES, ()), tags.get(_TILE_BYTES, ()), strict=False)
    return any(offset + size > len(data) for offset, size in pieces)


def preview(data: bytes) -> str | None:
    """Why the first picture is not the file's own, in words: "a raw photo", "a reduced picture first"; else None.

    A raw photo (DNG, NEF, ARW, CR2, SRW and others) says that it is a DNG or a CR2, or has a sensor's data in its first
    directory or in one below it. TIFF 6.0 and TIFF/EP, NewSubfileType: bit 0 is a reduced version of another picture.
    """
    order = _byte_order(data)
    if order is None:
        return None
    if data[8:11] == b"CR\2":
        return "a raw photo (CR2)"
    try:
        tags = _first(data, order)
        if _DNG_VERSION in tags:
            return "a raw photo (DNG)"
        below = tags.get(_SUB_DIRECTORIES, ())[:_MAX_SUB_DIRECTORIES]
        if any(_is_of_sensor(one) for one in (tags, *(_directory(data, order, at) for at in below))):
            return "a raw photo"
    except (struct.error, _EndsEarlyError):  # for the decoder to say
        return None
    reduced = tags.get(_NEW_SUBFILE_TYPE, (0,))[0] & 1 or tags.get(_SUBFILE_TYPE, (0,))[0] == 2
    return "a TIFF whose first picture is a reduced one, as raw photos have it" if reduced else None


def _is_of_sensor(tags: Tags) -> bool:
    return tags.get(_PHOTOMETRIC, (0,))[0] in _SENSOR


def _byte_order(data: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])


def _first(data: bytes, order: str) -> Tags:
    return _directory(data, order, struct.unpack_from(order + "I", data, 4)[0])


def _directory(data: bytes, order: str, at: int) -> Tags:
    """The integers of a directory's wanted tags. Raises struct.error or _EndsEarlyError where it ends early."""
    (entries,) = struct.unpack_from(order + "H", data, at)
    tags: Tags = {}
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        size = _SIZES.get(kind, 1) * count
        start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        if start + size > len(data):
            raise _EndsEarlyError
        if tag in _WANTED and kind in _INTEGERS and count:
            tags[tag] = struct.unpack_from(f"{order}{count}{_INTEGERS[kind]}", data, start)
    return tags
