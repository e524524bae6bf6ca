"""Formats told by what the bytes say, before any decoder sees them: the allow-list, and what else it looks like."""

import re
import struct
from collections.abc import Callable
from typing import Final

ALLOWED: Final = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
"""The formats that may reach a decoder, as the `format` column names them."""

_MAGIC: Final = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("gif", re.compile(rb"GIF8[79]a")),
    # "BM" alone is how much text begins, so the size of the second header has to be one that exists.
    ("bmp", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("tiff", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("avif", re.compile(rb".{4}ftyp(?:avi[fs]|.{4}(?:.{4}){0,16}?avi[fs])", re.DOTALL)),
)
_OTHERS: Final = (
    ("HEIC", re.compile(rb".{4}ftyp(?:hei|hev|mif1|msf1)", re.DOTALL)),
    ("a video", re.compile(rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    ("PDF", re.compile(rb"\s*%PDF")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("SVG", re.compile(rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg\b", re.DOTALL | re.I)),
    ("HTML", re.compile(rb"\s*(?:<!DOCTYPE html|<html|<head|<body)", re.I)),
    ("XML", re.compile(rb"\s*<\?xml")),
    ("a zip archive", re.compile(rb"PK(?:\x03\x04|\x05\x06)")),
    ("compressed data", re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!")),
    ("Photoshop", re.compile(rb"8BPS")),
    ("an icon", re.compile(rb"\0\0[\1\2]\0.\0", re.DOTALL)),
    ("Netpbm", re.compile(rb"P[1-7]\s")),
    ("Parquet", re.compile(rb"PAR1")),
    ("a program", re.compile(rb"MZ|\x7fELF")),
    # `{`, `[` and prose alike: whole UTF-8 or ASCII lines without control characters.
    ("text", re.compile(rb"(?:[\t\n\r\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]+)+(?:[\xc2-\xf4][\x80-\xbf]*)?\Z")),
)
_HEAD: Final = 1024  # bytes that are enough to tell what it is


def sniff(data: bytes) -> str | None:
    """The allowed format whose magic bytes begin `data` (its first 128 bytes are enough), or None."""
    head = data[:128]
    return next((name for name, magic in _MAGIC if magic.match(head)), None)


def looks_like(data: bytes) -> str:
    """What data outside the allow-list seems to be, for a person to read: "PDF", "text", "unknown data"."""
    head = data[:_HEAD]
    return next((name for name, magic in _OTHERS if magic.match(head)), "unknown data")


def ends_early(data: bytes, fmt: str) -> bool:
    """Whether the container itself shows that data is missing at its end.

    Asked after a decoder has refused, since most do not say it reliably. False for GIF and BMP, whose decoders do.
    """
    check = _CHECKS.get(fmt)
    try:
        return check(data) if check else False
    except struct.error:  # a field of the container lies past the end
        return True


def _jpeg_ends_early(data: bytes) -> bool:
    """The segments up to the first scan; missing data after it is what the decoder does report."""
    at = 2
    while True:
        mark, marker = struct.unpack_from("BB", data, at)
        if mark != 0xFF or marker == 0xDA:
            return False
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _png_ends_early(data: bytes) -> bool:
    """Length, type, data and checksum (4 + 4 + n + 4 bytes) of each chunk up to IEND."""
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if at > len(data):
            return True
        if kind == b"IEND":
            return False


def _webp_ends_early(data: bytes) -> bool:
    return 8 + struct.unpack_from("<I", data, 4)[0] > len(data)


def _avif_ends_early(data: bytes) -> bool:
    """The boxes up to the picture's data, `mdat`; a size of 0 means to the end of the file, 1 that 64 bits follow."""
    at, kind = 0, b""
    while kind != b"mdat" and at <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        elif size == 0:
            return False
        at += max(size, 8)
    return at > len(data)


def _tiff_ends_early(data: bytes) -> bool:
    """The first directory, the values it points to, and its strips or tiles (classic TIFF 6.0, not BigTIFF)."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] not in (b"*\0", b"\0*"):
        return False
    width = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    values: dict[int, tuple[int, ...]] = {}
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        size = width.get(kind, 1) * count
        at = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        if at + size > len(data):
            return True
        if tag in (273, 279, 324, 325) and kind in (3, 4):  # offsets and byte counts of strips, of tiles
            values[tag] = struct.unpack_from(f"{order}{count}{'H' if kind == 3 else 'I'}", data, at)
    pieces = [*zip(values.get(273, ()), values.get(279, ()), strict=False)]
    pieces += zip(values.get(324, ()), values.get(325, ()), strict=False)
    return any(offset + size > len(data) for offset, size in pieces)


_CHECKS: Final[dict[str, Callable[[bytes], bool]]] = {
    "jpeg": _jpeg_ends_early,
    "png": _png_ends_early,
    "webp": _webp_ends_early,
    "tiff": _tiff_ends_early,
    "avif": _avif_ends_early,
}
