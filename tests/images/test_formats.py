"""What the first bytes say."""

import pytest
from PIL import features

from clipfake.images.formats import ALLOWED, ends_early, looks_like, sniff


@pytest.mark.parametrize("fmt", ALLOWED)
def test_every_allowed_format_is_told_by_its_first_bytes(fmt, picture, encode):
    if fmt == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encode(picture, fmt)
    assert sniff(data) == fmt
    assert sniff(data[:128]) == fmt


def test_variants_of_magic_bytes():
    assert sniff(b"II+\0" + bytes(12)) == "tiff"  # BigTIFF
    assert sniff(b"MM\0*" + bytes(12)) == "tiff"
    assert sniff(b"GIF87a") == "gif"
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "avif"  # AVIF among the compatible brands
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") is None
    assert sniff(b"") is None


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg width="1">', "SVG"),
        (b"<?xml version='1.0'?><rss/>", "XML"),
        (b"\n<!doctype html><title>404</title>", "HTML"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\x1f\x8b\x08\0", "compressed data"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"P6\n1 1\n255\n\0\0\0", "Netpbm"),
        (b"PAR1", "Parquet"),
        (b"\x7fELF", "a program"),
        (b'{"error": "not found"}', "text"),
        (b"BMW, Audi and others\n", "text"),  # begins as a bitmap does
        ("grüße".encode(), "text"),
        (b"\xfa\xfb\0\1\2", "unknown data"),
        (b"\0", "unknown data"),
    ],
)
def test_what_is_not_allowed_is_named(data, name):
    assert sniff(data) is None
    assert looks_like(data) == name


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_container_shows_that_its_end_is_missing(fmt, picture, encode):
    data = encode(picture, fmt)
    assert not ends_early(data, fmt)
    assert not ends_early(data + b"garbage tail", fmt)
    for keep in (16, 40, 100 if fmt == "jpeg" else len(data) - 20):
        assert ends_early(data[:keep], fmt), keep
