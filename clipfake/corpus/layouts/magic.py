"""Whether bytes begin like an image of any common format, allowed or not; the decoder decides what is read."""

HEAD_BYTES = 16

_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",  # TIFF, little-endian
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x0a",  # JPEG XL
    b"\0\0\0\x0cJXL ",
)
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


def looks_like_image(head: bytes) -> bool:
    """Whether `head`, the first HEAD_BYTES bytes of a file, is the beginning of an image."""
    if head.startswith(_STARTS):
        return True
    return (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)
