"""How long a video is, by its container's header alone: nothing is decoded, and little of the file is read."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import IO, Final

MAX_PARTS: Final = 1_000_000  # boxes or blocks that are looked at
_SEGMENT, _INFO, _SCALE, _DURATION, _CLUSTER = 0x18538067, 0x1549A966, 0x2AD7B1, 0x4489, 0x1F43B675


def duration(file: IO[bytes], size: int) -> float | None:
    """Seconds of the video in a seekable file of `size` bytes; None where its header does not say.

    ISO media (mp4, mov: `mvhd`, in fragments `mehd`), Matroska and WebM (`Info`), GIF and animated WebP (the sum of the
    delays). What it says is not checked: a header may lie. Raises OSError where the file cannot be read.
    """
    file.seek(0)
    kind = container_of(file.read(12))
    try:
        found = _READERS[kind](file, size) if kind else None
    except (struct.error, IndexError):  # it ends within the header
        found = None
    return found if found and math.isfinite(found) and found > 0 else None


def container_of(head: bytes) -> str | None:
    """What the first 12 bytes of a file say that it is: mov (mp4 too), matroska (WebM too), gif or webp; else None."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _iso(file: IO[bytes], size: int) -> float | None:
    """ISO 14496-12: the duration in `mvhd`, of fragmented files in `mehd`, both in the time scale of `mvhd`."""
    movie = _box(file, b"moov", (0, size))
    scale, length = _numbers(file, _box(file, b"mvhd", movie), 4, ">II", ">IQ")
    if not length:
        (length,) = _numbers(file, _box(file, b"mehd", _box(file, b"mvex", movie)), 0, ">I", ">Q")
    return length / scale if scale else None


def _numbers(file: IO[bytes], box: tuple[int, int] | None, skip: int, short: str, long: str) -> tuple[int, ...]:
    """What a full box holds, by its version; zeros where there is no such box. skip : its two times, in short ones."""
    if box is None:
        return (0,) * (len(short) - 1)
    file.seek(box[0])
    is_long = file.read(4)[0] == 1
    file.seek(2 * skip * (1 + is_long), 1)
    form = long if is_long else short
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _box(file: IO[bytes], kind: bytes, within: tuple[int, int] | None) -> tuple[int, int] | None:
    """Where the content of the first box of that kind begins and ends."""
    return next(((at, stop) for name, at, stop in _boxes(file, *within) if name == kind), None) if within else None


def _boxes(file: IO[bytes], at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, where it ends) of each box."""
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            begin += 8
        stop = at + max(size, begin - at) if size else end
        yield kind, begin, min(stop, end)
        at = stop


def _matroska(file: IO[bytes], size: int) -> float | None:
    """RFC 9559: Duration, in units of TimestampScale nanoseconds; the Info element comes before the first cluster."""
    scale, found, at = 1_000_000, None, 0
    for _ in range(MAX_PARTS):
        if at >= size:
            break
        file.seek(at)
        name, content, length = _element(file.read(16))
        at += content
        if name in (_SEGMENT, _INFO):
            continue  # into it
        if name == _CLUSTER:
            break
        if name in (_SCALE, _DURATION) and length <= 8:
            file.seek(at)
            raw = file.read(length)
            if name == _SCALE:
                scale = int.from_bytes(raw)
            else:
                (found,) = struct.unpack(">f" if length == 4 else ">d", raw)
        at += length
    return None if found is None else found * scale / 1e9


def _element(head: bytes) -> tuple[int, int, int]:
    """(id, bytes of the element's own head, length of its content) of what begins with these bytes."""
    width = 9 - head[0].bit_length()
    name, rest = int.from_bytes(head[:width]), head[width:]
    more = 9 - rest[0].bit_length()
    return name, width + more, int.from_bytes(rest[:more]) & ((1 << 7 * more) - 1)


def _gif(file: IO[bytes], size: int) -> float:
    """GIF89a: the sum of the delays in graphic control extensions, hundredths of a second."""
    file.seek(10)
    flags = file.read(3)[0]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    total = 0
    while file.tell() < size:
        kind = file.read(1)
        if kind == b"!":
            label = file.read(1)
            blocks = _blocks(file)
            if label == b"\xf9" and len(first := next(blocks, b"")) == 4:
                total += struct.unpack_from("<H", first, 1)[0]
            for _ in blocks:
                pass
        elif kind == b",":
            flags = file.read(9)[8]
            file.seek((3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1, 1)
            for _ in _blocks(file):
                pass
        else:  # the end, or damage
            break
    return total / 100


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while length := (file.read(1) or b"\0")[0]:
        yield file.read(length)


def _webp(file: IO[bytes], size: int) -> float:
    """The sum of the durations of the `ANMF` chunks, milliseconds."""
    total, at = 0, 12
    for _ in range(MAX_PARTS):
        if at + 8 > size:
            break
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"ANMF":
            total += int.from_bytes(file.read(15)[12:15], "little")
        at += 8 + length + length % 2
    return total / 1000


_READERS: Final = {"mov": _iso, "matroska": _matroska, "gif": _gif, "webp": _webp}
