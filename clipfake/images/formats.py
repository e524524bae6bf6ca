"""Formats told by what the bytes say, before any decoder sees them: the allow-list, and what else it looks like."""

import re
import struct
from collections.abc import Callable
from typing import Final

from clipfake.images import jpeg_scans, png_chunks, tiff_directories

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
ALLOWED: Final = tuple(name for name, _ in _MAGIC)  # that may reach a decoder, as the column `format` names them
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


_CHECKS: Final[dict[str, Callable[[bytes], bool]]] = {
    "jpeg": jpeg_scans.ends_early,
    "png": png_chunks.ends_early,
    "webp": _webp_ends_early,
    "tiff": tiff_directories.ends_early,
    "avif": _avif_ends_early,
}
