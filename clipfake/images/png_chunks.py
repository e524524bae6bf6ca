"""The chunks of a PNG: whether the file ends early, and the file without optional chunks that no one can read."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from PIL.PngImagePlugin import PngStream

_SIGNATURE_BYTES: Final = 8
_ANIMATION: Final = (b"acTL", b"fcTL", b"fdAT")
_KEY_BYTES: Final = {0: 2, 2: 6}  # of tRNS, by colour type: grey, RGB
_MAX_REFUSALS: Final = 8  # each may cost as much as the largest chunk that is read


def ends_early(data: bytes) -> bool:
    """Whether the data ends before IEND. Raises struct.error where it ends in the head of a chunk."""
    for kind, _, end in _chunks(data):
        if end > len(data):
            return True
        if kind == b"IEND":
            break
    return False


def without_faults(data: bytes) -> bytes:
    """`data` without the optional chunks that a reader would refuse: a wrong checksum, a wrong length, too much text.

    What is left shows the same picture, as libpng and browsers do. Animations lose all but the picture itself. Pillow's
    own handlers judge what a chunk holds; after _MAX_REFUSALS of them all chunks of metadata but EXIF go.
    """
    stream = PngStream(io.BytesIO(data))
    kept, refused, at = [data[:_SIGNATURE_BYTES]], 0, _SIGNATURE_BYTES
    try:
        for kind, start, end in _chunks(data):
            optional = kind[:1].islower()
            if kind == b"IHDR":  # the handlers of others ask what it said
                _handle(stream, kind, start, end)
            if not optional or (
                kind not in _ANIMATION
                and (refused < _MAX_REFUSALS or kind in (b"tRNS", b"eXIf"))
                and _is_sound(data, stream, kind, start, end)
            ):
                kept.append(data[at:end])
            else:
                refused += 1
            at = end
            if kind == b"IEND":
                break
    except Exception:  # the file breaks off or the header is no header: the decoder says so
        pass
    return b"".join(kept) + data[at:]


def bit_depth(data: bytes) -> int:
    """Bits a sample, from the header."""
    return data[24]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end (after the checksum) of each chunk, to the end of the data."""
    at = _SIGNATURE_BYTES
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + 12 + length
        at += 12 + length


def _is_sound(data: bytes, stream: PngStream, kind: bytes, start: int, end: int) -> bool:
    content = memoryview(data)[start : end - 4]
    if zlib.crc32(content, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
        return False
    if kind == b"tRNS":
        return len(content) == _KEY_BYTES.get(data[25], len(content)) and len(content) <= 256
    try:
        _handle(stream, kind, start, end)
    except AttributeError:  # no handler: no reader is harmed
        return True
    except Exception:  # the handlers raise nearly every kind for bad data
        return False
    return True


def _handle(stream: PngStream, kind: bytes, start: int, end: int) -> None:
    assert stream.fp is not None
    stream.fp.seek(start)
    stream.call(kind, start, end - 4 - start)
