"""The scans of a JPEG: whether the file ends early, which no decoder tells where an end marker comes too soon."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SOS, _EOI = 0xDA, 0xD9
_BARE: Final = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_BASELINE: Final = 0xC0
_FRAMES: Final = (_BASELINE, 0xC1, 0xC2)  # baseline, extended, progressive: what libjpeg decodes with Huffman codes
_PROGRESSIVE: Final = 0xC2
_NEXT_MARKER: Final = re.compile(rb"\xff([^\0\xff\xd0-\xd7])")
# In place of the end marker: as many bits as libjpeg looks ahead, all of them 1, which begins no code (T.81, C.2).
_FILLER: Final = b"\xff\0" * 8

Segment = tuple[int, int, bytes]


@dataclass(frozen=True)
class FrameHeader:
    """What a JPEG's only frame says.

    bits : a sample; identifiers : a byte for each component; sampling : (across, down) of each
    end : bytes of the file before its end marker
    """

    baseline: bool
    progressive: bool
    bits: int
    width: int
    height: int
    identifiers: bytes
    sampling: tuple[tuple[int, int], ...]
    end: int


def frame_of(data: bytes) -> FrameHeader | None:
    """The frame of a file with one frame, at least one scan after it, and an end marker; else None."""
    frames: list[tuple[int, bytes]] = []
    scans, end = 0, None
    try:
        for marker, at, content in _segments(data):
            if marker in _FRAMES:
                frames.append((marker, content))
            scans += marker == _SOS
            end = at - 2 if marker == _EOI else None
        if len(frames) != 1 or not scans or end is None:
            return None
        ((marker, content),) = frames
        bits, height, width, count = struct.unpack_from(">BHHB", content)
        components = [content[6 + 3 * number : 9 + 3 * number] for number in range(count)]
        return FrameHeader(
            marker == _BASELINE, marker == _PROGRESSIVE, bits, width, height,
            bytes(one[0] for one in components), tuple((one[1] >> 4, one[1] & 15) for one in components), end,
        )  # fmt: skip
    except (struct.error, IndexError):
        return None


def ends_early(data: bytes) -> bool:
    """Whether the data ends before the first scan. Raises struct.error where it ends in a segment's length."""
    for marker, at, _ in _segments(data):
        if marker == _SOS:
            return False
        if at > len(data):
            return True
    return False


def without_end(data: bytes) -> bytes:
    """`data` with a few bits in place of its end marker and of what comes after it, where all is in one scan.

    libjpeg makes up what is missing before an end marker, and only warns. Without one it asks for more data where the
    scan is not whole, and a whole one it finishes. (Where less than 64 bits are missing it may take these for them: of
    the last 16 x 16 pixels.) `data` itself where there are several scans (there libjpeg has to
    see the end), no end marker, or nothing to understand.
    """
    frame = b""
    try:
        for marker, at, content in _segments(data):
            if marker in _FRAMES:
                frame = content if marker != _PROGRESSIVE else b""
            elif marker == _SOS:
                end = _NEXT_MARKER.search(data, at)
                whole = frame and end and end[1][0] == _EOI and content[0] == frame[5]
                return data[: end.start()] + _FILLER if whole and end else data
    except (struct.error, IndexError):
        pass
    return data


def scans_are_missing(data: bytes) -> bool:
    """Whether the end marker comes before all bits of all coefficients of all components had their scan.

    Asked of what could be decoded. An end marker within the last of several scans is not seen.
    """
    components: list[int] = []
    progressive = False
    open_bits: dict[tuple[int, int], int] = {}  # (component, coefficient) -> the lowest bit that was sent; 0 is all
    try:
        for marker, _, content in _segments(data):
            if marker in _FRAMES:
                components = [content[6 + 3 * number] for number in range(content[5])]
                progressive = marker == _PROGRESSIVE
            elif marker == _SOS:
                count = content[0]
                first, last, approximation = content[1 + 2 * count : 4 + 2 * count]
                band = range(first, last + 1) if progressive else range(64)
                for component in content[1 : 1 + 2 * count : 2]:
                    open_bits.update({(component, place): approximation & 15 if progressive else 0 for place in band})
            elif marker == _EOI:
                break
    except (struct.error, IndexError, ValueError):
        return False
    return any(open_bits.get((component, place), 1) for component in components for place in range(64))


def _segments(data: bytes) -> Iterator[Segment]:
    """Marker, end and content of each segment up to the end marker; the data of a scan is passed over."""
    at = 2
    while True:
        mark, marker = struct.unpack_from("BB", data, at)
        if mark != 0xFF:
            return
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _BARE or marker == _EOI:
            at += 2
            yield marker, at, b""
            if marker == _EOI:
                return
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        yield marker, at + 2 + length, data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _SOS:
            found = _NEXT_MARKER.search(data, at)
            if found is None:
                return
            at = found.start()
